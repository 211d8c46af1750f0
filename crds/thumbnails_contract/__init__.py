"""What API, operator and worker agree on: names, the ThumbnailJob, object keys, errors, messages.

The rest of the project depends on this package, and it depends on nothing but the standard
library: a worker imports it in a millisecond. ``../thumbnailjobs.yaml`` is the source of truth
for everything in ``spec`` and ``status``; ``tests/unit/contract`` holds the two together.
"""
