"""`/metrics`, for Prometheus: on the probes' port, and on the API's own where there is no login."""

from dataclasses import dataclass

import falcon

from thumbnails_api.metrics import CONTENT_TYPE, ApiMetrics


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """`GET /metrics`."""

    metrics: ApiMetrics

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """All of it, as it is now."""
        resp.content_type = CONTENT_TYPE
        resp.set_header("Cache-Control", "no-store")
        resp.data = self.metrics.text()

    on_head = on_get
