"""Requests to the Kubernetes API server, with plain documents and our own errors, for all of the operator.

The `kubernetes` package knows where the server is and who we are; its typed models are left out, since
what kopf hands over are plain documents as well, and parsing them costs more than the request.
"""

import json
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, Final

import urllib3
from kubernetes.client import ApiClient
from kubernetes.config import ConfigException

from thumbnails_contract.errors import Unavailable

Document = dict[str, Any]

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 10.0
PAGE: Final = 500
MERGE_PATCH: Final = "application/merge-patch+json"
JSON: Final = "application/json"
_AWAY: Final = "The Kubernetes API server is not available for now."
_SUCCESS: Final = range(200, 300)
# A kept connection that was closed meanwhile is worth a new one. Whatever else fails is tried again by
# who called, and within the time of one call: the Lease has to be renewed in time.
_RETRIES: Final = urllib3.Retry(total=1, connect=0, redirect=0, status=0, other=0)


class ApiError(Exception):
    """The API server refuses; `message` is its own text, for decisions and the log, not for the public."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.message = message


class ClusterApi:
    """One ApiClient. Every method blocks and may be called from any thread.

    They raise ApiError (4xx, but not 429), or Unavailable when the server does not answer or cannot for now.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._settings = client.configuration
        self._pool = client.rest_client.pool_manager

    def get(self, path: str, *, read_seconds: float = READ_SECONDS) -> Document:
        """One object."""
        return self._request("GET", path, read_seconds=read_seconds)

    def find(self, path: str) -> Document | None:
        """One object, or None when there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:  # noqa: PLR2004 - HTTP's
                return None
            raise

    def create(self, path: str, body: Document, *, read_seconds: float = READ_SECONDS) -> Document:
        """Create an object; the stored one."""
        return self._request("POST", path, body=body, read_seconds=read_seconds)

    def replace(self, path: str, body: Document, *, read_seconds: float = READ_SECONDS) -> Document:
        """Replace an object, only if it is at the resourceVersion in `body`."""
        return self._request("PUT", path, body=body, read_seconds=read_seconds)

    def patch(self, path: str, body: Document) -> Document:
        """Merge-patch an object."""
        return self._request("PATCH", path, body=body, content_type=MERGE_PATCH)

    def delete(self, path: str, *, propagation: str = "Background") -> None:
        """Delete an object."""
        self._request("DELETE", path, {"propagationPolicy": propagation})

    def list(self, path: str, *, labels: str = "", fields: str = "") -> Iterator[Document]:
        """All objects of one consistent state, fetched a page at a time."""
        query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields}
        while True:
            page = self._request("GET", path, query)
            yield from page.get("items") or ()
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    def close(self) -> None:
        """Release the connections."""
        self._client.close()  # type: ignore[no-untyped-call]

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Document | None = None,
        content_type: str = JSON,
        read_seconds: float = READ_SECONDS,
    ) -> Document:
        words = {name: value for name, value in (query or {}).items() if value}
        url = f"{self._settings.host.rstrip('/')}{path}"
        if words:
            url = f"{url}?{urllib.parse.urlencode(words)}"
        headers = {"Accept": JSON, "User-Agent": self._client.user_agent}
        content = None
        if body is not None:
            headers["Content-Type"] = content_type
            content = json.dumps(body, separators=(",", ":")).encode()
        try:
            headers.update(self._credentials())
            response = self._pool.request(
                method,
                url,
                body=content,
                headers=headers,
                retries=_RETRIES,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
            )
            status, answer = response.status, response.data
        except (urllib3.exceptions.HTTPError, ConfigException, OSError) as error:
            raise Unavailable(_AWAY) from error
        return _answer(status, answer)

    def _credentials(self) -> dict[str, str]:
        """The bearer token, if that is how we are known; a pod's is read again as it is renewed."""
        settings = self._settings.auth_settings()
        return {item["key"]: item["value"] for item in settings.values() if item["value"]}


def _answer(status: int, content: bytes) -> Document:
    try:
        document: Document = json.loads(content)
    except ValueError:
        document = {}
    if status in _SUCCESS:
        return document
    if status == 429 or status >= 500:  # noqa: PLR2004 - HTTP's
        raise Unavailable(_AWAY)
    raise ApiError(status, str(document.get("reason", "")), str(document.get("message", "")))


def path_of(prefix: str, namespace: str | None, plural: str, name: str = "") -> str:
    """The path of an object, or of all of a namespace, or (None) of the cluster."""
    parts = [prefix]
    if namespace is not None:
        parts += ["namespaces", urllib.parse.quote(namespace, safe="")]
    parts.append(plural)
    if name:
        parts.append(urllib.parse.quote(name, safe=""))
    return "/".join(parts)


def jobs_path(namespace: str | None, name: str = "") -> str:
    """Of batch/v1 Jobs."""
    return path_of("/apis/batch/v1", namespace, "jobs", name)


def pods_path(namespace: str | None, name: str = "") -> str:
    """Of Pods."""
    return path_of("/api/v1", namespace, "pods", name)


def secrets_path(namespace: str, name: str = "") -> str:
    """Of Secrets."""
    return path_of("/api/v1", namespace, "secrets", name)


def events_path(namespace: str) -> str:
    """Of Events."""
    return path_of("/api/v1", namespace, "events")


def leases_path(namespace: str, name: str = "") -> str:
    """Of Leases."""
    return path_of("/apis/coordination.k8s.io/v1", namespace, "leases", name)


TOKEN_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
