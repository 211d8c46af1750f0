"""Takes the pictures of a batch in, one after another, for `POST /images`.

The last job of a batch says how many jobs there are, so that whoever waits for all of them knows when to
stop. Which one is the last is known only when no picture comes after it that can be used: a picture is
stored once the next one was looked at, and what comes out of a ZIP is on disk for as long as that takes.
"""

from collections.abc import Callable, Iterator, Sequence

from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.spec import Batch, BatchWebhooks

from .archives import Entry
from .pictures import Picture, Rejected
from .problems import public_error
from .uploads import Item

Outcome = ThumbnailJob | Rejected


def take_batch(
    batch_id: str,
    items: Sequence[Item],
    webhooks: BatchWebhooks,
    accept: Callable[[Picture, Batch], ThumbnailJob],
) -> list[Outcome]:
    """What became of each item, in their order. What `accept` raises costs its own picture alone."""
    outcomes: dict[int, Outcome] = {}
    taken = 0
    for index, image, last in _one_by_one(items):
        if isinstance(image, Rejected):
            outcomes[index] = image
            continue
        batch = Batch(batch_id, index, len(items), taken + 1 if last else None, webhooks)
        try:
            outcomes[index] = accept(image, batch)
        except Exception as error:  # noqa: BLE001 - logged; the pictures before this one are stored
            outcomes[index] = Rejected(image.file_name, public_error(error))
        else:
            taken += 1
    return [outcomes[index] for index in range(len(items))]


def _one_by_one(items: Sequence[Item]) -> Iterator[tuple[int, Picture | Rejected, bool]]:
    """Each item with its place, unpacked; and whether no picture comes after it.

    A picture out of a ZIP is there until the next one is asked for.
    """
    held: tuple[int, Picture] | None = None
    try:
        for index, item in enumerate(items):
            image = _unpack(item)
            if isinstance(image, Rejected):
                yield index, image, False
                continue
            ready, held = held, (index, image)
            if ready is not None:
                try:
                    yield *ready, False
                finally:
                    _drop(items, *ready)
        if held is not None:
            yield *held, True
    finally:
        if held is not None:
            _drop(items, *held)


def _unpack(item: Item) -> Picture | Rejected:
    if not isinstance(item, Entry):
        return item
    try:
        return item.unpack()
    except Exception as error:  # noqa: BLE001 - logged; the pictures before this one are stored
        return Rejected(item.file_name, public_error(error))


def _drop(items: Sequence[Item], index: int, picture: Picture) -> None:
    """Give back the disk space of a picture out of a ZIP; the others are the request's."""
    if isinstance(items[index], Entry):
        picture.data.close()
