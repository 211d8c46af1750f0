"""Makes what the chart's tests check with: `python3 -m hack.chart` (`make chart` does so, and runs them)."""

import os
import sys

from hack.chart import schemas, tools
from hack.cluster import build
from hack.cluster.layout import layout_from_environment
from hack.cluster.progress import Progress
from hack.cluster.shell import ClusterError


def main() -> int:
    cache = layout_from_environment(os.environ).cache
    recipes = tools.recipes()
    progress = Progress(len(recipes) + 1)
    try:
        for recipe in recipes:
            with progress.step(recipe.title):
                build.build(recipe, cache, os.environ, progress)
        with progress.step("Schemas of Kubernetes, the Prometheus Operator and Compose"):
            schemas.make(cache, os.environ, progress)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
