"""Takes what is long and blocks, such as a listing of the object store, in parts: for janitor and eraser."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


async def in_parts(
    items: Iterable[T], size: int, run_blocking: Callable[..., Awaitable[Any]]
) -> AsyncIterator[list[T]]:
    """Lists of at most so many, none of them empty; each is read by `run_blocking`, the first step too."""
    iterator: Iterator[T] | None = None

    def take() -> list[T]:
        nonlocal iterator
        iterator = iter(items) if iterator is None else iterator
        return list(islice(iterator, size))

    while part := await run_blocking(take):
        yield part
