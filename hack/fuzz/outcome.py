"""`python -m hack.fuzz.outcome FILE...`: what the renderer makes of each file, a line of JSON each.

Each file gets a fresh renderer, so that memory is its own; with `--one-renderer` all have the same, as in a
worker, and a file of which the renderer says so is tried once more, as there. `seconds` by the clock;
`mebibytes`: the most that the renderer had, beyond what it has at rest; `kept_mebibytes` of the last one:
what the renderer has beyond that once it had nothing to do for a while.
"""

import argparse
import json
from pathlib import Path

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import Limits

from .boundary import MIB, Boundary

_LITTLE_BYTES = 8 * MIB


def main() -> None:
    """Render all that is named."""
    parser = argparse.ArgumentParser(prog="python -m hack.fuzz.outcome", description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--one-renderer", action="store_true")
    parser.add_argument("--memory-mib", type=int, help="that a renderer may have; the default of a worker's")
    options = parser.parse_args()
    boundary = Boundary(Limits(), options.memory_mib and options.memory_mib * MIB)
    at_rest = boundary.most_resident_bytes()
    for name in options.files:
        if not options.one_renderer:
            boundary.replace()
            at_rest = boundary.most_resident_bytes()
        pid = boundary.pid
        outputs = [(Output(width=100, height=100), Format.AUTO)]
        answer = boundary.render(Path(name).read_bytes(), outputs)
        if options.one_renderer and answer.reply and answer.reply.retry:
            pid, at_rest = boundary.pid, boundary.most_resident_bytes()
            answer = boundary.render(Path(name).read_bytes(), outputs)
        outcome: dict[str, object] = {
            "file": Path(name).name,
            "trouble": answer.trouble,
            "reason": answer.reason,
            "message": answer.reply.error.message if answer.reply and answer.reply.error else "",
            "detail": answer.reply.detail if answer.reply else "",
            "seconds": round(answer.reply.seconds, 3) if answer.reply else None,
            "pictures": len(answer.thumbnails),
        }
        if boundary.pid == pid:
            outcome["mebibytes"] = (boundary.most_resident_bytes() - at_rest) // MIB
        if options.one_renderer and name == options.files[-1]:
            resting = boundary.resident_bytes(at_rest + _LITTLE_BYTES)
            outcome["kept_mebibytes"] = max(0, resting - at_rest) // MIB
        print(json.dumps(outcome), flush=True)
    boundary.close()


if __name__ == "__main__":
    main()
