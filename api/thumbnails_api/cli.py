"""The command `thumbnails-api`: API keys, and the end of accounts, for administrators and their scripts."""

import argparse
import logging
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from thumbnails_contract.environment import InvalidSetting
from thumbnails_contract.names import is_label_name
from thumbnails_contract.timestamps import format_time

from .erase_command import EraseAccount, EraseFailed
from .keys import (
    MAX_NAME_LENGTH,
    ApiKey,
    ApiKeyError,
    digest_of,
    issue,
    key_id_of,
    new_key,
    parse_entries,
    revoke,
)
from .keys_directory import DirectoryKeyStore
from .keys_settings import DATA_FOLDER_KEYS, DEFAULT_SECRET, KeySettings
from .keys_store import KeyStore, KeyStoreUnavailable
from .scopes import ALL_SCOPES, Scope

FAILED: Final = 1
DEFAULT_URL: Final = "http://localhost:3000"
_COLUMNS: Final = ("ID", "ACCOUNT", "NAMESPACE", "SCOPES", "CREATED", "REVOKED", "NAME")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 done, 1 refused or failed, 2 wrong arguments (by argparse)."""
    options = _parser().parse_args(arguments)
    # What libraries warn of, such as retries, ends in our own line if it matters.
    logging.basicConfig(level=logging.ERROR, format="thumbnails-api: %(message)s")
    try:
        settings = KeySettings.from_environment(os.environ)
        namespace = options.secret_namespace or settings.namespace
        if options.area == "accounts":
            _erase(options, settings, namespace)
            return 0
        store = _open_store(options, settings, namespace)
        command = Command(store, namespace, output=sys.stdout, messages=sys.stderr)
        if options.command == "create":
            scopes = frozenset(options.scope or ALL_SCOPES)
            command.create(options.account, namespace=options.namespace, name=options.name, scopes=scopes)
        elif options.command == "list":
            command.list()
        else:
            command.revoke(options.id)
        sys.stdout.flush()
    except (ApiKeyError, EraseFailed, InvalidSetting) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"cannot write the answer: {error.strerror}")
    return 0


@dataclass(frozen=True, slots=True)
class Command:
    """What can be done with keys. Results go to `output`, what people want to know besides to `messages`."""

    store: KeyStore
    service_namespace: str
    output: TextIO
    messages: TextIO
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def create(
        self,
        account: str,
        *,
        namespace: str | None = None,
        name: str = "",
        scopes: frozenset[Scope] = ALL_SCOPES,
    ) -> None:
        """Make a key, and print it: alone on a line, and only now. Raises ApiKeyError."""
        key_id, key = new_key(secrets.choice)
        record = ApiKey(key_id, account, digest_of(key), namespace, name, created_at=self.now, scopes=scopes)
        self.store.update(
            lambda existing: issue(record, existing.values(), service_namespace=self.service_namespace)
        )
        print(
            f"created the key {key_id} of the account {account}: keep it, it cannot be shown again",
            file=self.messages,
        )
        print(key, file=self.output)

    def list(self) -> None:
        """Print a table of all keys, oldest first in each account, without their hashes."""
        stored = self.store.read()
        keys, troubles = parse_entries(stored.entries if stored else {})
        in_order = sorted(keys.values(), key=lambda key: (key.account, _time(key.created_at), key.id))
        rows = [_COLUMNS, *(_row(key, self.service_namespace) for key in in_order)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print(line.rstrip(), file=self.output)
        for trouble in troubles:
            print(f"left out: {trouble}", file=self.messages)

    def revoke(self, text: str) -> None:
        """Revoke the key with this id (or the key itself: what leaked is at hand). Raises ApiKeyError."""
        key_id = key_id_of(text) or text
        key = self.store.update(lambda existing: revoke(key_id, existing, self.now))
        print(f"the key {key.id} of the account {key.account} is revoked", file=self.messages)


def _erase(options: argparse.Namespace, settings: KeySettings, namespace: str) -> None:
    command = EraseAccount(
        options.url,
        lambda: _open_store(options, settings, namespace),
        service_namespace=namespace,
        messages=sys.stderr,
    )
    command.run(
        options.account,
        namespace=options.namespace,
        revoke_keys=options.revoke_keys,
        wait=not options.no_wait,
    )


def _row(key: ApiKey, service_namespace: str) -> tuple[str, ...]:
    # Others may write entries, and a terminal obeys control characters.
    name = "".join(char if char.isprintable() else "?" for char in key.name)
    namespace = key.namespace or service_namespace
    scopes = ",".join(sorted(key.scopes))
    return (key.id, key.account, namespace, scopes, _time(key.created_at), _time(key.revoked_at), name)


def _time(moment: datetime | None) -> str:
    return format_time(moment) if moment else "-"


def _open_store(options: argparse.Namespace, settings: KeySettings, namespace: str) -> KeyStore:
    """What the options name, else what the environment does, else the Secret of the usual name."""
    directory = options.directory
    data = options.data
    if directory is data is options.secret is None:
        directory = settings.directory
        if not settings.configured:
            data = Path(os.environ["THUMBNAILS_DATA"]) if os.environ.get("THUMBNAILS_DATA") else None
    if data is not None:
        directory = data / DATA_FOLDER_KEYS
    if directory is not None:
        return DirectoryKeyStore(directory)
    try:
        # Only here, since it takes half a second, and a directory of keys needs none of it.
        from .keys_cluster import open_secret  # noqa: PLC0415
    except ImportError:
        raise KeyStoreUnavailable("the package kubernetes is not installed; use --directory") from None
    name = options.secret or settings.secret or DEFAULT_SECRET
    return open_secret(namespace, name, context=options.context)


def _parser() -> argparse.ArgumentParser:
    place = argparse.ArgumentParser(add_help=False)
    where = place.add_argument_group("where the keys are")
    either = where.add_mutually_exclusive_group()
    either.add_argument("--secret", metavar="NAME", help=f"a Secret (default: {DEFAULT_SECRET})")
    either.add_argument("--directory", metavar="DIR", type=Path, help="a directory in place of a Secret")
    either.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        help="the data folder of a service without Kubernetes (default: THUMBNAILS_DATA, where it is set)",
    )
    where.add_argument(
        "--secret-namespace",
        metavar="NS",
        type=_label,
        help="where the Secret is, which is the service's own namespace (default: thumbnails)",
    )
    where.add_argument("--context", metavar="NAME", help="of the kubeconfig (default: its current one)")

    parser = argparse.ArgumentParser(prog="thumbnails-api", description="Administer the thumbnail service.")
    areas = parser.add_subparsers(dest="area", required=True)
    keys = areas.add_parser("keys", help="API keys", description="Make, list and revoke API keys.")
    commands = keys.add_subparsers(dest="command", required=True)

    create = commands.add_parser(
        "create", parents=[place], help="make a key and print it", description="Make a key and print it."
    )
    create.add_argument("--account", required=True, type=_label, help="whose jobs the key's bearer sees")
    create.add_argument("--name", default="", type=_name, help="what the key is for, to people")
    create.add_argument(
        "--namespace", metavar="NS", type=_label, help="of the account's jobs (default: the service's own)"
    )
    create.add_argument(
        "--scope",
        action="append",
        type=Scope,
        choices=tuple(Scope),
        metavar="SCOPE",
        help="what the key allows: read or write (default: both)",
    )
    commands.add_parser("list", parents=[place], help="show all keys", description="Show all keys.")
    revoking = commands.add_parser(
        "revoke", parents=[place], help="make a key useless", description="Make a key useless."
    )
    revoking.add_argument("id", metavar="ID", help="the key's id, or the key itself")
    accounts = areas.add_parser("accounts", help="accounts", description="Administer accounts.")
    erasing = accounts.add_subparsers(dest="command", required=True).add_parser(
        "erase",
        parents=[place],
        help="erase all that an account has",
        description="Erase all that an account has: jobs, originals, thumbnails. Returns when it is done.",
    )
    erasing.add_argument("account", metavar="ACCOUNT", type=_label)
    erasing.add_argument(
        "--url",
        metavar="URL",
        default=DEFAULT_URL,
        help=f"of the service (default: {DEFAULT_URL})",
    )
    erasing.add_argument(
        "--namespace", metavar="NS", type=_label, help="of the account's jobs (default: the service's own)"
    )
    erasing.add_argument("--revoke-keys", action="store_true", help="revoke the account's keys at the end")
    erasing.add_argument("--no-wait", action="store_true", help="return as soon as it has begun")
    return parser


def _label(text: str) -> str:
    if not is_label_name(text):
        raise argparse.ArgumentTypeError("must be lower-case letters, digits and '-', at most 63")
    return text


def _name(text: str) -> str:
    if len(text) > MAX_NAME_LENGTH or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be printable, of at most {MAX_NAME_LENGTH} characters")
    return text


def _fail(message: str) -> int:
    sys.stderr.write(f"thumbnails-api: {message}\n")
    return FAILED
