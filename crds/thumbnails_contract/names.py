"""Names of the API group, labels and annotations, and which job names are well formed."""

import re
from typing import Final

GROUP: Final = "thumbnails.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "ThumbnailJob"
PLURAL: Final = "thumbnailjobs"
SINGULAR: Final = "thumbnailjob"
SHORT_NAME: Final = "tnj"

DEFAULT_NAMESPACE: Final = "thumbnails"
DEFAULT_ACCOUNT: Final = "default"
DEFAULT_OUTPUT: Final = "default"

ACCOUNT_LABEL: Final = f"{GROUP}/account"
BATCH_LABEL: Final = f"{GROUP}/batch"
# Worker Jobs carry this label; the executor selects by it.
WORKER_LABEL: Final = f"{GROUP}/worker"

# The name that the client gave its file: shown to people, used for nothing else.
FILE_NAME_ANNOTATION: Final = f"{GROUP}/file-name"
# Of the request that the job was made for (tracing.py).
TRACEPARENT_ANNOTATION: Final = f"{GROUP}/traceparent"
TRACESTATE_ANNOTATION: Final = f"{GROUP}/tracestate"

WEBHOOK_SECRET_TYPE: Final = f"{GROUP}/webhook"

# RFC 1123 names, as the Kubernetes API server checks them for custom resources and namespaces.
MAX_NAME_LENGTH: Final = 253
MAX_LABEL_LENGTH: Final = 63
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def is_job_name(text: str) -> bool:
    """Whether `text` may be the name of a ThumbnailJob (an RFC 1123 subdomain)."""
    return len(text) <= MAX_NAME_LENGTH and _SUBDOMAIN.fullmatch(text) is not None


def is_label_name(text: str) -> bool:
    """Whether `text` is an RFC 1123 label: a namespace, an account, the name of an output."""
    return len(text) <= MAX_LABEL_LENGTH and _LABEL.fullmatch(text) is not None
