"""`/jobs/{id}/links`: signed links to a job's thumbnails, for pages that people see without a key."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import falcon

from thumbnails_api.answers import write_json
from thumbnails_api.catalogue import Catalogue
from thumbnails_api.links import LinkSigner
from thumbnails_api.options import check_names, parse_query
from thumbnails_contract.errors import InvalidOption, JobNotFound, NotFound
from thumbnails_contract.timestamps import format_time

_MAX_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class JobLinks:
    """`GET /jobs/{id}/links?seconds=`: one for each output, and for each format when there are several.

    They can be given out before the thumbnails are there: until then they are 404, which nobody keeps.
    """

    jobs: Catalogue
    signer: LinkSigner
    default_seconds: int
    max_seconds: int
    clock: Callable[[], datetime]

    def on_get(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        """Raises JobNotFound, InvalidOption; NotFound when the service gives out no links."""
        if not self.signer.secrets or not self.max_seconds:
            raise NotFound("This service gives out no links.")
        seconds = self._parse_seconds(req)
        job = self.jobs.get(req.context.caller, job_id)
        if job is None:
            raise JobNotFound
        expires = int(self.clock().timestamp()) + seconds

        def sign(path: str, format_: str | None = None) -> str:
            return self.signer.sign(path, format_, req.context.caller, expires)

        path = f"/thumbnails/{job.key.name}"
        outputs: list[dict[str, Any]] = []
        for output in job.spec.outputs:
            outputs.append({"name": output.name, "format": None, "path": sign(f"{path}/{output.name}")})
            if len(output.formats) > 1:
                outputs += [
                    {
                        "name": output.name,
                        "format": each.value,
                        "path": sign(f"{path}/{output.name}", each.value),
                    }
                    for each in output.formats
                ]
        document = {
            "id": job.key.name,
            "expiresAt": format_time(datetime.fromtimestamp(expires, UTC)),
            "thumbnailPath": sign(path),
            "outputs": outputs,
        }
        write_json(resp, document)

    on_head = on_get

    def _parse_seconds(self, req: falcon.Request) -> int:
        pairs = parse_query(req.query_string)
        check_names((name for name, _ in pairs), ("seconds",))
        if not pairs:
            return min(self.default_seconds, self.max_seconds)
        text = pairs[0][1] if len(pairs) == 1 else ""
        is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
        if not is_number or not 1 <= int(text) <= self.max_seconds:
            raise InvalidOption(f"seconds must be a whole number from 1 to {self.max_seconds}.")
        return int(text)
