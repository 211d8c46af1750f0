"""The API's sockets: loopback only, both families, and a clear word when the port is taken."""

import socket

import pytest

from thumbnails_local.listening import bind
from thumbnails_local.trouble import StartError


def test_any_free_port_on_loopback_alone() -> None:
    sockets = bind(None, 0)
    hosts = {listener.getsockname()[0] for listener in sockets}
    assert "127.0.0.1" in hosts
    assert hosts <= {"127.0.0.1", "::1"}
    assert len({listener.getsockname()[1] for listener in sockets}) == 1
    for listener in sockets:
        with socket.create_connection(listener.getsockname()[:2], timeout=10):
            pass
        listener.close()


def test_a_port_in_use() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=rf"port {port} is in use.*PORT="):
            bind(None, port)


def test_a_port_in_use_with_ipv6_only_leaves_nothing_bound() -> None:
    try:
        other = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("there is no IPv6 here")
    port = other.getsockname()[1]
    with pytest.raises(StartError, match=f"port {port} is in use"):
        bind(None, port)
    other.close()
    for listener in bind(None, port):
        listener.close()


def test_an_address_is_listened_on_alone() -> None:
    (listener,) = bind("127.0.0.2", 0)
    assert listener.getsockname()[0] == "127.0.0.2"
    listener.close()


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(StartError, match=r"^THUMBNAILS_HOST: 192\.0\.2\.1 is no address of this machine"):
        bind("192.0.2.1", 0)
