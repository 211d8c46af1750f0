"""Bodies in chunks: what is one, however it is cut into pieces, and what would cost too much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waitress.buffers import OverflowableBuffer

from thumbnails_api.chunked import FREE_FRAMING_BYTES, MAX_LINE_BYTES, MAX_TRAILER_BYTES, ChunkedReceiver


def receive(data: bytes, *cuts: int) -> tuple[ChunkedReceiver, bytes]:
    """Give it the data in pieces; the receiver, and what it left of the data for the next request."""
    receiver = ChunkedReceiver(OverflowableBuffer(1 << 24))
    start = 0
    for end in (*sorted(cuts), len(data)):
        while start < end and not receiver.completed and receiver.error is None:
            start += receiver.received(data[start:end])
    return receiver, data[start:]


def body(receiver: ChunkedReceiver) -> bytes:
    assert receiver.completed
    assert receiver.error is None
    content: bytes = receiver.getfile().read()
    assert len(receiver) == len(content)
    return content


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=8),
    st.sampled_from([b"", b";name=value", b' ; a="b"']),
    st.sampled_from([b"", b"X-Checksum: abc\r\n", b"A: b\r\nHost: evil\r\n"]),
    st.binary(max_size=20),
    st.sets(st.integers(0, 300)),
)
def test_a_body_is_received_in_whatever_pieces_it_comes(
    chunks: list[bytes], extension: bytes, trailer: bytes, after: bytes, cuts: set[int]
) -> None:
    whole = b"".join(b"%X%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    data = whole + b"0\r\n" + trailer + b"\r\n" + after
    receiver, left = receive(data, *(cut for cut in cuts if cut < len(data)))
    assert body(receiver) == b"".join(chunks)
    assert left == after


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-1\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"3 3\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"\r\n3\r\nabc\r\n",
        b"3\nabc\n0\n\n" + b" " * MAX_LINE_BYTES,
        b"3;a\nb\r\nabc\r\n",
        b"3;\x00\r\nabc\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"3;" + b"a" * MAX_LINE_BYTES,
        b"0\r\nX: " + b"a" * MAX_LINE_BYTES,
        b"0\r\n" + b"X: a\r\n" * MAX_TRAILER_BYTES,
        b"1\r\na\r\n" * FREE_FRAMING_BYTES,
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_what_is_none_or_costs_too_much_is_refused(data: bytes, piece: int) -> None:
    receiver, _ = receive(data, *range(piece, min(len(data), 50_000), piece))
    assert receiver.error is not None
    assert len(receiver) <= FREE_FRAMING_BYTES
    assert len(receiver._line) <= MAX_LINE_BYTES + 2 + max(piece, 1)


def test_chunks_of_a_usual_size_may_be_many() -> None:
    chunk = b"400\r\n" + bytes(1024) + b"\r\n"
    receiver, left = receive(chunk * 5000 + b"0\r\n\r\n")
    assert (len(body(receiver)), left) == (5000 * 1024, b"")
