"""W3C Trace Context: what is taken over, what is dropped, and how it travels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_contract.tracing import TraceContext

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STATE = "rojo=00f067aa0ba902b7,congo@vendor=t61rcWkgMzE"


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (TRACE, TRACE),
        (f" {TRACE} ", TRACE),
        (f"cc{TRACE[2:]}-what-comes-later", TRACE),
        (f"{TRACE}-more", None),
        (f"ff{TRACE[2:]}", None),
        (TRACE.upper(), None),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
        ("nonsense", None),
        ("", None),
        (None, None),
    ],
)
def test_a_parent_is_valid_or_none(header: str | None, kept: str | None) -> None:
    found = TraceContext.parse(header)
    assert (found.parent if found else None) == kept


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (STATE, STATE),
        (f" {STATE.replace(',', ' , ')},, ", STATE),
        ("a=1," * 31 + "b=2", None),  # the same key again
        (",".join(f"k{number}=1" for number in range(32)), ",".join(f"k{number}=1" for number in range(32))),
        (",".join(f"k{number}=1" for number in range(33)), None),
        (f"a={'x' * 256},b={'x' * 251}", f"a={'x' * 256},b={'x' * 251}"),
        (f"a={'x' * 256},b={'x' * 256}", None),
        ("Upper=1", None),
        ("a=1\r\nSet-Cookie: b", None),
        ("a=ü", None),
        ("a", None),
        ("", None),
        (None, None),
    ],
)
def test_a_state_is_kept_whole_or_dropped_whole(header: str | None, kept: str | None) -> None:
    found = TraceContext.parse(TRACE, header)
    assert found is not None
    assert (found.parent, found.state) == (TRACE, kept)


def test_a_state_without_a_parent_is_nothing() -> None:
    assert TraceContext.parse(None, STATE) is None


@given(st.binary(min_size=24, max_size=24).filter(lambda data: any(data[:16]) and any(data[16:])))
def test_one_of_our_own_is_valid_and_travels_by_annotations(random: bytes) -> None:
    begun = TraceContext.begin(random)
    assert TraceContext.of(begun.annotations) == begun
    assert begun.trace_id == random[:16].hex()


def test_both_headers_travel_by_annotations() -> None:
    trace = TraceContext.parse(TRACE, STATE)
    assert trace is not None
    assert TraceContext.of(trace.annotations) == trace
    assert trace.headers == {"traceparent": TRACE, "tracestate": STATE}
    assert TraceContext.of({}) is None
    assert TraceContext.of({"thumbnails.dev/traceparent": "by hand"}) is None
