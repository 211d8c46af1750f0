"""The description of the REST API, OpenAPI 3.1: what `/openapi.json` says, for clients, tools and `/docs`.

Made from what the service itself goes by (words, limits, errors, settings), so that the two cannot part.
What is written by hand is held to the service by tests, in both directions.
"""

from typing import Any

from thumbnails_api.settings import ApiSettings

from .elements import HEADERS
from .paths import paths
from .schemas import schemas
from .webhooks import webhooks

_DESCRIPTION = """\
Post a picture, get a job; the job makes thumbnails.

```
curl -F image=@photo.jpg -F width=320 -F format=webp -H 'Prefer: wait=10' http://localhost:3000/images
```

Every answer that is no success is a problem document (RFC 9457) whose `reason` never changes its meaning.
`X-Request-Id` names a request in the log; send one of your own (1 to 64 letters, digits, `.`, `_`, `-`), or
read ours. Every resource answers `OPTIONS` with `Allow`, and other methods with 405.
"""

_TAGS = (
    ("Images", "Pictures come in, and originals go out."),
    ("Jobs", "What became of uploads, one by one, in pages and as events."),
    ("Thumbnails", "What was made."),
    ("Accounts", "The end of all that an account has."),
    ("Service", "What the service is, and how it is."),
    ("Pages", "For people with a browser."),
)


def openapi_document(settings: ApiSettings, *, version: str, requires_login: bool) -> dict[str, Any]:
    """The whole document. Without login there is no security scheme, and `/metrics` is on the same port."""
    components: dict[str, Any] = {"schemas": schemas(settings), "headers": HEADERS}
    document: dict[str, Any] = {
        "openapi": "3.1.1",
        "info": {
            "title": "Thumbnails",
            "version": version,
            "summary": "Thumbnails of pictures, made by jobs",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS],
        "paths": paths(settings, requires_login=requires_login),
        "webhooks": webhooks(),
        "components": components,
    }
    if requires_login:
        components["securitySchemes"] = {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": (
                    "An API key, or the token of a Kubernetes service account. The scope `read` is for GET"
                    " and HEAD, `write` for the rest."
                ),
            },
            "link": {
                "type": "apiKey",
                "in": "query",
                "name": "signature",
                "description": "A signed link to one thumbnail, as `/jobs/{job_id}/links` gives them out.",
            },
        }
        document["security"] = [{"bearer": []}]
    return document
