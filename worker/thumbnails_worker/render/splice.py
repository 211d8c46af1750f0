"""Joins pieces of a file and new bytes to another file, in one copy: for those that mend and cut files."""

import mmap
from collections.abc import Iterable


def splice(data: bytes | mmap.mmap, parts: Iterable[bytes | slice]) -> bytes:
    """Slices are of `data`.

    Nothing holds on to `data` afterwards, not even the traceback of an error: a mapped file can be closed.
    """
    with memoryview(data) as view:
        return b"".join(view[part] if isinstance(part, slice) else part for part in parts)
