"""Builds the form of a presigned POST (RFC 7578, and S3's rule that `file` comes last)."""

from collections.abc import Mapping


def form_around(fields: Mapping[str, str], boundary: str) -> tuple[bytes, bytes]:
    """What stands before and behind the file in a form with these fields and then the file.

    Names are those of a policy and of the contract: ASCII without quotes. `boundary` must not occur
    in the file: 16 random bytes do not.
    """
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts.append(
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="thumbnail"\r\n'
        f"Content-Type: {fields.get('Content-Type', 'application/octet-stream')}\r\n\r\n".encode()
    )
    return b"".join(parts), f"\r\n--{boundary}--\r\n".encode()
