"""The first API key of a data folder, for whoever has none to begin with; a release gets one of the chart."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from thumbnails_api.keys import ApiKey, digest_of, new_key
from thumbnails_api.keys_directory import DirectoryKeyStore
from thumbnails_contract.names import DEFAULT_ACCOUNT

from .credentials import write_private
from .data_folder import DataFolder

NAME: Final = "the first key"


def make_first_key(folder: DataFolder, now: datetime, choose: Callable[[str], str]) -> None:
    """Make a key when there was never any, and keep it in a file that may be deleted once it was read.

    `choose` picks one of some characters at random, as `secrets.choice` does. The file comes before the
    hash: whoever is ended in between makes both anew at the next start. Raises KeyStoreUnavailable, OSError.
    """
    store = DirectoryKeyStore(folder.api_keys)
    stored = store.read()
    if stored is not None and stored.entries:
        return
    key_id, key = new_key(choose)
    write_private(folder.first_key, f"{key}\n")
    record = ApiKey(key_id, DEFAULT_ACCOUNT, digest_of(key), name=NAME, created_at=now)
    store.update(lambda _: record)
