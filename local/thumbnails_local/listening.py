"""The sockets of the API: bound by the launcher, so that they outlive an API process."""

import errno
import socket
from contextlib import ExitStack
from typing import Final

from .trouble import StartError

_BACKLOG: Final = 1024
_TRIES: Final = 20


def bind(host: str | None, port: int) -> list[socket.socket]:
    """Listening sockets on this port (0: any free one) of this IP address; `::` takes IPv4 as well.

    Without an address it is 127.0.0.1 and, where there is IPv6, ::1. Raises StartError when the port is
    taken, or needs privileges, or the address is none of this machine's.
    """
    for left in reversed(range(_TRIES)):
        try:
            return _bind_loopback(port) if host is None else [_bind_address(host, port)]
        except OSError as error:
            # A port that is free with IPv4 may be taken with IPv6.
            if error.errno == errno.EADDRINUSE and port == 0 and left:
                continue
            if error.errno == errno.EADDRINUSE:
                raise StartError(
                    f"port {port} is in use by another program: end it, or choose another port, "
                    f"like PORT={port + 1 if port < 65_535 else 3000}"  # noqa: PLR2004 - the last port
                ) from None
            if error.errno == errno.EACCES:
                raise StartError(
                    f"port {port} needs privileges that you do not have: choose another, like PORT=3000"
                ) from None
            if error.errno == errno.EADDRNOTAVAIL:
                raise StartError(
                    f"THUMBNAILS_HOST: {host} is no address of this machine; 0.0.0.0 takes all of them"
                ) from None
            raise StartError(f"port {port} cannot be used: {error.strerror}") from error
    raise AssertionError


def _bind_address(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _listen(family, host, port, dual_stack=host == "::")


def _bind_loopback(port: int) -> list[socket.socket]:
    with ExitStack() as undo:
        ipv4 = undo.enter_context(_listen(socket.AF_INET, "127.0.0.1", port))
        sockets = [ipv4]
        try:
            sockets.append(undo.enter_context(_listen(socket.AF_INET6, "::1", ipv4.getsockname()[1])))
        except OSError as error:
            if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                raise
        undo.pop_all()
    return sockets


def _listen(family: socket.AddressFamily, host: str, port: int, *, dual_stack: bool = False) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual_stack))
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
