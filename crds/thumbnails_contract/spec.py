"""`ThumbnailJob.spec` as frozen dataclasses: parsed once at the border, written back as a manifest.

Field by field the same as ``../thumbnailjobs.yaml``, which also checks what comes from outside;
`Spec.parse` reads a document that a store has already admitted (defaults filled in).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from .errors import InvalidJob
from .names import DEFAULT_ACCOUNT, DEFAULT_OUTPUT

MAX_OUTPUTS: Final = 8
MAX_SIDE_PIXELS: Final = 16_384
DEFAULT_SIDE_PIXELS: Final = 100


class Fit(StrEnum):
    """How a picture is brought into `width` x `height`; the words and meanings of CSS and sharp."""

    COVER = "cover"  # fill the box, cut what does not fit
    CONTAIN = "contain"  # all of it within the box, the rest is background
    INSIDE = "inside"  # as large as possible within the box, no background
    OUTSIDE = "outside"  # as small as possible around the box, nothing cut
    FILL = "fill"  # stretch to the box


class Position(StrEnum):
    """Which part `cover` keeps, or where `contain` puts the picture."""

    CENTER = "center"
    TOP = "top"
    TOP_RIGHT = "top-right"
    RIGHT = "right"
    BOTTOM_RIGHT = "bottom-right"
    BOTTOM = "bottom"
    BOTTOM_LEFT = "bottom-left"
    LEFT = "left"
    TOP_LEFT = "top-left"
    ATTENTION = "attention"  # the interesting part; center for `contain`


class Format(StrEnum):
    """What is written. `auto` keeps the original's format (TIFF becomes JPEG or PNG)."""

    AUTO = "auto"
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    GIF = "gif"
    TIFF = "tiff"


class Metadata(StrEnum):
    """What becomes of EXIF, XMP and the like."""

    STRIP = "strip"
    KEEP = "keep"


class Priority(StrEnum):
    """Interactive jobs go before bulk ones, always."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


# The background of CSS: #rrggbb, #rrggbbaa or the word. None: transparent where the format can, else white.
TRANSPARENT: Final = "transparent"


@dataclass(frozen=True, slots=True)
class Output:
    """One thumbnail. At least one of `width` and `height` (pixels) is set; the other follows."""

    name: str = DEFAULT_OUTPUT
    width: int | None = None
    height: int | None = None
    fit: Fit = Fit.COVER
    position: Position = Position.CENTER
    background: str | None = None
    formats: tuple[Format, ...] = (Format.AUTO,)
    quality: int | None = None
    animated: bool = True
    without_enlargement: bool = False
    metadata: Metadata = Metadata.STRIP

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the manifest's form (camelCase)."""
        return cls(
            name=data["name"],
            width=data.get("width"),
            height=data.get("height"),
            fit=Fit(data.get("fit", Fit.COVER)),
            position=Position(data.get("position", Position.CENTER)),
            background=data.get("background"),
            formats=tuple(Format(word) for word in data.get("formats", (Format.AUTO,))),
            quality=data.get("quality"),
            animated=data.get("animated", True),
            without_enlargement=data.get("withoutEnlargement", False),
            metadata=Metadata(data.get("metadata", Metadata.STRIP)),
        )

    def to_manifest(self) -> dict[str, Any]:
        """The manifest's form, every default written out as an API server would."""
        data: dict[str, Any] = {"name": self.name}
        if self.width is not None:
            data["width"] = self.width
        if self.height is not None:
            data["height"] = self.height
        data |= {"fit": self.fit.value, "position": self.position.value}
        if self.background is not None:
            data["background"] = self.background
        data["formats"] = [word.value for word in self.formats]
        if self.quality is not None:
            data["quality"] = self.quality
        data |= {
            "animated": self.animated,
            "withoutEnlargement": self.without_enlargement,
            "metadata": self.metadata.value,
        }
        return data


DEFAULT_OUTPUTS: Final = (Output(name=DEFAULT_OUTPUT, width=DEFAULT_SIDE_PIXELS, height=DEFAULT_SIDE_PIXELS),)


class BatchWebhooks(StrEnum):
    """What the receiver is told of a batch: the end of each job, of the whole batch once, or both."""

    EACH = "each"
    ONCE = "once"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Batch:
    """Which upload of several pictures this one came with.

    `size` counts all pictures of the upload, `jobs` those that became jobs: the last job alone says it.
    """

    id: str
    index: int
    size: int
    jobs: int | None = None
    webhooks: BatchWebhooks = BatchWebhooks.EACH

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the manifest's form."""
        webhooks = BatchWebhooks(data.get("webhooks", BatchWebhooks.EACH))
        return cls(data["id"], data["index"], data["size"], data.get("jobs"), webhooks)

    def to_manifest(self) -> dict[str, Any]:
        """The manifest's form, every default written out as an API server would."""
        data: dict[str, Any] = {"id": self.id, "index": self.index, "size": self.size}
        if self.jobs is not None:
            data["jobs"] = self.jobs
        return data | {"webhooks": self.webhooks.value}


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where to tell of the job's end, and the name of the Secret to sign with (None: the account's)."""

    url: str
    secret_name: str | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """The whole of `spec`."""

    object_key: str
    account: str = DEFAULT_ACCOUNT
    outputs: tuple[Output, ...] = DEFAULT_OUTPUTS
    batch: Batch | None = None
    webhook: Webhook | None = None
    priority: Priority = Priority.INTERACTIVE
    suspend: bool = False
    cancel: bool = False
    ttl_seconds_after_finished: int | None = field(default=None)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the manifest's form. Raises InvalidJob for what this version cannot read."""
        try:
            batch, webhook = data.get("batch"), data.get("webhook")
            outputs = data.get("outputs")
            return cls(
                object_key=data["source"]["objectKey"],
                account=data.get("account", DEFAULT_ACCOUNT),
                outputs=DEFAULT_OUTPUTS
                if outputs is None
                else tuple(Output.parse(output) for output in outputs),
                batch=Batch.parse(batch) if batch else None,
                webhook=Webhook(webhook["url"], webhook.get("secretRef", {}).get("name"))
                if webhook
                else None,
                priority=Priority(data.get("priority", Priority.INTERACTIVE)),
                suspend=data.get("suspend", False),
                cancel=data.get("cancel", False),
                ttl_seconds_after_finished=data.get("ttlSecondsAfterFinished"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidJob("spec has a field that this version cannot read") from error

    def to_manifest(self) -> dict[str, Any]:
        """The manifest's form, every default written out as an API server would."""
        data: dict[str, Any] = {
            "account": self.account,
            "source": {"objectKey": self.object_key},
            "outputs": [output.to_manifest() for output in self.outputs],
        }
        if self.batch is not None:
            data["batch"] = self.batch.to_manifest()
        if self.webhook is not None:
            data["webhook"] = {"url": self.webhook.url}
            if self.webhook.secret_name is not None:
                data["webhook"]["secretRef"] = {"name": self.webhook.secret_name}
        data |= {"priority": self.priority.value, "suspend": self.suspend, "cancel": self.cancel}
        if self.ttl_seconds_after_finished is not None:
            data["ttlSecondsAfterFinished"] = self.ttl_seconds_after_finished
        return data
