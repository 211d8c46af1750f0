"""`/presets`: what may be asked for by name."""

from dataclasses import dataclass

import falcon

from thumbnails_api.answers import write_json
from thumbnails_api.presets import Presets, presets_document


@dataclass(frozen=True, slots=True)
class PresetList:
    """`GET /presets`."""

    presets: Presets

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """An object: the outputs of each preset by its name."""
        write_json(resp, presets_document(self.presets))

    on_head = on_get
