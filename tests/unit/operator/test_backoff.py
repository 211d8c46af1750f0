"""Waiting longer after each failure in a row."""

from thumbnails_operator.backoff import backoff_seconds


def test_it_doubles_up_to_the_longest() -> None:
    assert [backoff_seconds(failures, 0.5, 3.0) for failures in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 3.0]


def test_any_number_of_failures_is_fine() -> None:
    assert backoff_seconds(1_000_000, 1.0, 60.0) == 60.0
