"""Damaged files for the renderer, through the process boundary that it has in a worker: `make fuzz`."""
