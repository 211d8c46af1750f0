"""Sends clients to the object store itself for a thumbnail, where the administrator wants that."""

from dataclasses import dataclass
from typing import Final

import falcon

from thumbnails_common.objectstore import ObjectStore

from .pictures import header_file_name
from .serving import StoredFile, answer_condition, served_type

# A preference (RFC 7240) for the bytes themselves.
NO_REDIRECT: Final = "no-redirect"


@dataclass(frozen=True, slots=True)
class Redirects:
    """`seconds`: how long an address that is given out is valid."""

    objects: ObjectStore
    seconds: int

    def answer(
        self, req: falcon.Request, resp: falcon.Response, file: StoredFile, *, link_seconds: int | None
    ) -> bool:
        """Answer with a 307 to where the file is, if the request may be sent elsewhere; whether it was.

        Not sent elsewhere are HEAD, since a signature is for one method, and whoever prefers that. The page
        at `/` does: its policy allows pictures from here alone, and its scripts read them. Where it shows no
        key it is known by `Sec-Fetch-Site`, which browsers send to HTTPS and to this machine alone.

        The address is valid no longer than the signed link that asks for it, if one does; the answer may be
        kept for half of that. Raises PreconditionFailed.
        """
        resp.append_header("Vary", "Sec-Fetch-Site, Prefer")
        if req.method != "GET" or req.get_header("Sec-Fetch-Site") == "same-origin" or _declines(req):
            return False
        if answer_condition(req, resp, file):
            return True
        seconds = self.seconds if link_seconds is None else max(1, min(self.seconds, link_seconds))
        resp.viewable_as = header_file_name(file.file_name)
        disposition, resp.viewable_as = resp.viewable_as, None
        resp.location = self.objects.presign_download(
            file.object_key,
            expires_seconds=seconds,
            content_type=served_type(file),
            content_disposition=disposition or "",
            cache_control=file.cache_control,
        )
        resp.status = falcon.HTTP_307
        visibility = "private" if link_seconds is None else "public"
        resp.set_header("Cache-Control", f"{visibility}, max-age={seconds // 2}")
        return True


def _declines(req: falcon.Request) -> bool:
    preferences = (req.get_header("Prefer") or "").split(",")
    return NO_REDIRECT in (preference.strip().lower() for preference in preferences)
