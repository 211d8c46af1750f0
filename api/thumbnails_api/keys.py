"""API keys: how they look, what is kept of them, and what may be done with them. No I/O.

A key is `tn_<key id>_<secret>`: an id of 12 characters of `[a-z0-9]`, and a secret of 43 of `[A-Za-z0-9]`
(256 bits). It is shown once, when it is made. What is kept is a hash of the whole key, in an entry of a
Secret, or a file in a directory, that has the key id for a name and holds one JSON document:

    {"version": 1,
     "account": "shop",                      an RFC 1123 label
     "hash": "sha256:<64 lower-case hex digits of the SHA-256 of the key's ASCII bytes>",
     "namespace": "thumbnails",              optional: where the account's jobs live; else the service's own
     "name": "the web shop's backend",       optional: for people
     "scopes": ["read"],                     optional: of "read" and "write" at least one; else both
     "createdAt": "2026-11-24T05:45:54Z",    optional
     "revokedAt": "2026-11-25T05:45:54Z"}    optional: the key is of no use any more

The format is stable: other programs (Helm templates, Terraform) may write such entries. A member that this
version does not know makes the entry unusable: it may be there to narrow what the key can do.

Why a bare SHA-256, and not argon2 or bcrypt: those make up for passwords that can be guessed. There is
nothing to guess in 256 random bits, and a slow hash would cost each request tens of milliseconds.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Self

from thumbnails_contract.names import is_label_name
from thumbnails_contract.timestamps import format_time, parse_time

from .scopes import ALL_SCOPES, Scope

KEY_ID_LENGTH: Final = 12
SECRET_LENGTH: Final = 43
MAX_NAME_LENGTH: Final = 200

_VERSION: Final = 1
_LOWER: Final = "abcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = "0123456789"
_ID_ALPHABET: Final = _LOWER + _DIGITS
_SECRET_ALPHABET: Final = _LOWER.upper() + _LOWER + _DIGITS
_ID: Final = re.compile(rf"[a-z0-9]{{{KEY_ID_LENGTH}}}")
_KEY: Final = re.compile(rf"tn_([a-z0-9]{{{KEY_ID_LENGTH}}})_[A-Za-z0-9]{{{SECRET_LENGTH}}}")
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
_MEMBERS: Final = frozenset(
    {"version", "account", "hash", "namespace", "name", "scopes", "createdAt", "revokedAt"}
)


class ApiKeyError(Exception):
    """Something about keys that an administrator is told in one line; never with a key or a hash in it."""


class InvalidKeyEntry(ApiKeyError):
    """A stored entry that is none, or of a later version."""


class NoSuchKey(ApiKeyError):
    """No entry has this id."""


class KeyExists(ApiKeyError):
    """An id is used once."""


class AccountElsewhere(ApiKeyError):
    """The account has keys for another namespace: it belongs to exactly one."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key. `digest` is the SHA-256 of the whole key, 32 bytes."""

    id: str
    account: str
    digest: bytes = field(repr=False)
    namespace: str | None = None
    name: str = ""
    created_at: datetime | None = None
    revoked_at: datetime | None = None
    scopes: frozenset[Scope] = ALL_SCOPES

    @classmethod
    def parse(cls, key_id: str, entry: bytes) -> Self:
        """From the stored entry of this name. Raises InvalidKeyEntry."""
        try:
            document = json.loads(entry)
        except (ValueError, RecursionError):
            raise InvalidKeyEntry("is no JSON document") from None
        if not isinstance(document, dict) or document.get("version") != _VERSION:
            raise InvalidKeyEntry(f"is no document of version {_VERSION}")
        if not is_key_id(key_id):
            raise InvalidKeyEntry("has a name that is no key id")
        if unknown := document.keys() - _MEMBERS:
            raise InvalidKeyEntry(f"has {len(unknown)} members that this version does not know")
        account = _text(document, "account") or ""
        namespace = _text(document, "namespace")
        hash_ = _HASH.fullmatch(_text(document, "hash") or "")
        if not is_label_name(account) or not (namespace is None or is_label_name(namespace)):
            raise InvalidKeyEntry("has an account or a namespace that is no RFC 1123 label")
        if hash_ is None:
            raise InvalidKeyEntry("has a hash that is no SHA-256")
        return cls(
            id=key_id,
            account=account,
            digest=bytes.fromhex(hash_[1]),
            namespace=namespace,
            name=_text(document, "name") or "",
            created_at=_time(document, "createdAt"),
            revoked_at=_time(document, "revokedAt"),
            scopes=_scopes(document),
        )

    def to_entry(self) -> bytes:
        """The document that is stored under the key's id."""
        document = {
            "version": _VERSION,
            "account": self.account,
            "hash": f"sha256:{self.digest.hex()}",
            "namespace": self.namespace,
            "name": self.name or None,
            "scopes": None if self.scopes == ALL_SCOPES else sorted(self.scopes),
            "createdAt": format_time(self.created_at) if self.created_at else None,
            "revokedAt": format_time(self.revoked_at) if self.revoked_at else None,
        }
        present = {name: value for name, value in document.items() if value is not None}
        return json.dumps(present).encode()


def is_key_id(text: str) -> bool:
    """Whether `text` may be the id of a key."""
    return _ID.fullmatch(text) is not None


def key_id_of(key: str) -> str | None:
    """The id in a key that somebody presents; None for what cannot be a key."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


def digest_of(key: str) -> bytes:
    """What is kept of a key: 32 bytes."""
    return hashlib.sha256(key.encode()).digest()


def new_key(choose: Callable[[str], str]) -> tuple[str, str]:
    """A key's id, and the key; `choose` picks one of some characters, in production `secrets.choice`."""
    key_id = "".join(choose(_ID_ALPHABET) for _ in range(KEY_ID_LENGTH))
    secret = "".join(choose(_SECRET_ALPHABET) for _ in range(SECRET_LENGTH))
    return key_id, f"tn_{key_id}_{secret}"


def parse_entries(entries: Mapping[str, bytes]) -> tuple[dict[str, ApiKey], list[str]]:
    """The keys in stored entries by id, and a line for each entry that is none, fit for a log."""
    keys: dict[str, ApiKey] = {}
    troubles: list[str] = []
    for name, entry in sorted(entries.items()):
        try:
            keys[name] = ApiKey.parse(name, entry)
        except InvalidKeyEntry as error:
            # Somebody may have named an entry after a whole key.
            troubles.append(f"the entry {name if is_key_id(name) else '(not a key id)'} {error}")
    return keys, troubles


def issue(key: ApiKey, existing: Iterable[ApiKey], *, service_namespace: str) -> ApiKey:
    """The key as it is to be stored beside the existing ones. Raises AccountElsewhere, KeyExists."""
    namespace = key.namespace or service_namespace
    for other in existing:
        if other.id == key.id:
            raise KeyExists("there is a key with this id already")
        theirs = other.namespace or service_namespace
        if other.account == key.account and other.revoked_at is None and theirs != namespace:
            raise AccountElsewhere(f"the account {key.account} belongs to the namespace {theirs}")
    return key


def revoke(key_id: str, existing: Mapping[str, ApiKey], now: datetime) -> ApiKey:
    """The key as it is to be stored from now on; its first revocation stays. Raises NoSuchKey."""
    key = existing.get(key_id)
    if key is None:
        raise NoSuchKey(f"there is no key with the id {key_id}" if is_key_id(key_id) else "this is no key id")
    return key if key.revoked_at is not None else replace(key, revoked_at=now)


def _text(document: Mapping[str, Any], member: str) -> str | None:
    value = document.get(member)
    if value is not None and (not isinstance(value, str) or len(value) > MAX_NAME_LENGTH):
        raise InvalidKeyEntry(f"has a member {member} that is no short text")
    return value


def _scopes(document: Mapping[str, Any]) -> frozenset[Scope]:
    if "scopes" not in document:
        return ALL_SCOPES
    try:
        scopes = frozenset(Scope(word) for word in document["scopes"])
    except (TypeError, ValueError):
        scopes = frozenset()
    if not scopes or not isinstance(document["scopes"], list):
        raise InvalidKeyEntry("has a member scopes that is no list of read and write")
    return scopes


def _time(document: Mapping[str, Any], member: str) -> datetime | None:
    text = _text(document, member)
    try:
        return parse_time(text) if text is not None else None
    except (ValueError, OverflowError):
        raise InvalidKeyEntry(f"has a member {member} that is no time") from None
