"""Says which of two states of an object is the newer one, for the caches of API and operator.

KEP-5504: resourceVersions of one resource may be compared as decimal numbers.
"""


def number_of(resource_version: str) -> int:
    """The version as a number; 0 for what is none, which is older than anything."""
    return int(resource_version) if resource_version.isdecimal() else 0


def is_newer(resource_version: str, than: str) -> bool:
    """Whether a state came after another one; versions that are no numbers are newer when they differ."""
    if resource_version.isdecimal() and than.isdecimal():
        return int(resource_version) > int(than)
    return resource_version != than
