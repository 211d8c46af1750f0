"""Sends clients to the object store itself for a thumbnail, where the administrator wants that."""

from dataclasses import dataclass

import falcon

from thumbnails_common.objectstore import ObjectStore

from .pictures import header_file_name
from .serving import StoredFile, answer_condition, served_type


@dataclass(frozen=True, slots=True)
class Redirects:
    """`seconds`: how long an address that is given out is valid."""

    objects: ObjectStore
    seconds: int

    def answer(
        self, req: falcon.Request, resp: falcon.Response, file: StoredFile, *, link_seconds: int | None
    ) -> bool:
        """Answer with a 307 to where the file is, if the request may be sent elsewhere; whether it was.

        Not sent elsewhere are HEAD, since a signature is for one method, and the page at `/`: its policy
        allows pictures from here alone, and its scripts read them. The address is valid no longer than the
        signed link that asks for it, if one does; the answer may be kept for half of that. Raises
        PreconditionFailed.
        """
        resp.append_header("Vary", "Sec-Fetch-Site")
        if req.method != "GET" or req.get_header("Sec-Fetch-Site") == "same-origin":
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
