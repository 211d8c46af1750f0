"""Who may talk to a service without login: its own page and local programs, not other web pages.

Any page in a browser can send requests to localhost. Two checks hold it off. `Host` must be a name
of this machine: a page whose own name was re-pointed to 127.0.0.1 (DNS rebinding) is of the same
origin for its browser, and only Host tells. And what a browser says about a request's origin
(`Origin`, Fetch Metadata) must not be another site. Programs that are no browsers send neither.
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from thumbnails_contract.errors import ForbiddenOrigin

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def check_origin(
    method: str,
    *,
    host: str | None,
    scheme: str,
    origin: str | None,
    fetch_site: str | None,
    fetch_mode: str | None,
    fetch_dest: str | None,
) -> None:
    """Raise ForbiddenOrigin unless this request may come from the own page, or from no page at all.

    All but `scheme` are raw header values. What is refused:

    - any Host that is no loopback name or address (a request without Host is of no browser);
    - any Origin but our own, for every method: reads too, since only a script sends it there;
    - what changes something, from any other site or origin, as forms and links do it;
    - reads from another site, unless somebody follows a link to here: a stranger's page could learn
      from `<img>` that a thumbnail is there. Other ports of this machine (same-site) may show them.
    """
    if host is not None and not is_loopback_host(host):
        raise ForbiddenOrigin
    if origin is not None and not _is_same_origin(origin, scheme, host):
        raise ForbiddenOrigin
    site = (fetch_site or "none").strip().lower()
    if method not in SAFE_METHODS:
        if site not in {"same-origin", "none"}:
            raise ForbiddenOrigin
    elif site not in {"same-origin", "same-site", "none"}:
        follows_link = (fetch_mode, fetch_dest) == ("navigate", "document")
        if not follows_link:
            raise ForbiddenOrigin


def is_loopback_host(host: str) -> bool:
    """Whether a Host header names this machine: localhost, *.localhost, 127.0.0.0/8 or [::1], any port."""
    parsed = _split_host(host)
    if parsed is None:
        return False
    name = parsed[0].removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _split_host(host: str) -> tuple[str, int | None] | None:
    try:
        parts = urlsplit(f"//{host.strip()}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    is_plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    return (name, port) if name and is_plain else None


def _is_same_origin(origin: str, scheme: str, host: str | None) -> bool:
    """`null` (a sandboxed frame, a file) is never the same."""
    theirs_scheme, separator, theirs_host = origin.strip().partition("://")
    theirs, ours = _split_host(theirs_host), _split_host(host or "")
    if not separator or theirs is None or ours is None or theirs_scheme.lower() != scheme:
        return False
    default = _DEFAULT_PORTS.get(scheme)
    return (theirs[0], theirs[1] or default) == (ours[0], ours[1] or default)
