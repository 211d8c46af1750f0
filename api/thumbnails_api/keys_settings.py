"""Where the API keys are, read from the environment: for the API's start, and as the CLI's defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from thumbnails_contract.environment import Environment, InvalidSetting, shown
from thumbnails_contract.names import DEFAULT_NAMESPACE, is_job_name, is_label_name

DEFAULT_SECRET: Final = "thumbnails-api-keys"  # noqa: S105 - the name of it
DATA_FOLDER_KEYS: Final = "api-keys"
"""The directory of keys in the data folder of a service without Kubernetes."""


@dataclass(frozen=True, slots=True)
class KeySettings:
    """A Secret, or a directory, or neither: then there is no login. `namespace` is the service's own."""

    secret: str | None = None
    directory: Path | None = None
    namespace: str = DEFAULT_NAMESPACE

    @property
    def configured(self) -> bool:
        """Whether there is a login."""
        return self.secret is not None or self.directory is not None

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """From `THUMBNAILS_API_KEYS_SECRET`, `THUMBNAILS_API_KEYS_DIR` and `THUMBNAILS_NAMESPACE`.

        Raises InvalidSetting, also when both of the former are set.
        """
        read = Environment(env)
        secret = read.value("THUMBNAILS_API_KEYS_SECRET", None, _secret_name)
        directory = read.value("THUMBNAILS_API_KEYS_DIR", None, Path)
        if secret is not None and directory is not None:
            raise InvalidSetting("THUMBNAILS_API_KEYS_DIR: must not be set beside THUMBNAILS_API_KEYS_SECRET")
        return cls(secret, directory, read.value("THUMBNAILS_NAMESPACE", DEFAULT_NAMESPACE, _namespace))


def _secret_name(text: str) -> str:
    # Secrets have names as ThumbnailJobs do: RFC 1123 subdomains.
    if not is_job_name(text):
        raise ValueError(f"must be the name of a Secret, not {shown(text)}")
    return text


def _namespace(text: str) -> str:
    if not is_label_name(text):
        raise ValueError(f"must be the name of a namespace, not {shown(text)}")
    return text
