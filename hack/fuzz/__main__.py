"""`python -m hack.fuzz`: render 50,000 damaged files, go on where it ended, and say what came of them."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from thumbnails_contract.wire import Limits

from .boundary import Boundary

if TYPE_CHECKING:
    from .campaign import Totals


def main() -> int:
    """Run; gives 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m hack.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=50_000, help="how many, with those of earlier runs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".cache/fuzz"), help="totals and findings")
    parser.add_argument("--wall-seconds", type=int, default=60, help="after which a renderer hangs")
    options = parser.parse_args()

    boundary = Boundary(Limits(wall_seconds=options.wall_seconds))

    # After the fork: what makes pictures starts threads.
    from hack.formats.table import KINDS  # noqa: PLC0415 - see above

    from .campaign import Campaign, Totals  # noqa: PLC0415 - see above

    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / f"totals-{options.seed}.json"
    totals = Totals.read(file, options.seed)
    campaign = Campaign(boundary, KINDS, totals, options.folder / "findings")

    def tell(now: Totals) -> None:
        now.write(file)
        if now.inputs % 1_000 == 0:
            print(
                f"{now.inputs:6} inputs, {now.pictures} pictures, {now.last_resident_mib} MiB at rest,"
                f" findings: {now.findings or 'none'}",
                flush=True,
            )

    try:
        campaign.run(options.inputs, tell)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here")
    finally:
        totals.write(file)
        boundary.close()
    _report(totals)
    return 1 if totals.findings else 0


def _report(totals: "Totals") -> None:
    print(f"inputs    {totals.inputs} (seed {totals.seed}), {totals.pictures} became pictures")
    print(f"reasons   {totals.reasons}")
    for name, counts in sorted(totals.by_format.items()):
        print(f"          {name:5} {counts}")
    print(
        f"repeated  {totals.repeated} pictures, each after another one; {totals.checks} checks of a known one"
    )
    print(f"time      {totals.seconds:.0f} s in the renderer; slowest {totals.slowest}")
    print(
        f"memory    {totals.resident_mib} MiB at rest at most, {totals.most_resident_mib} MiB while rendering"
    )
    print(f"findings  {totals.findings or 'none'}")


if __name__ == "__main__":
    sys.exit(main())
