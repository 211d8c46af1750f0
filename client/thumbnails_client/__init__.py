"""A client of the REST API, and the command `thumbnails`."""
