"""`python -m hack.fuzz.outcome FILE...`: what the renderer makes of each file, a line of JSON each.

Each file gets a fresh renderer, so that memory is its own. `seconds` by the clock; `mebibytes`: the most
that the renderer had, beyond what it has at rest.
"""

import json
import sys
from pathlib import Path

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import Limits

from .boundary import MIB, Boundary


def main() -> None:
    """Render all that is named."""
    limits = Limits()
    boundary = Boundary(limits)
    for name in sys.argv[1:]:
        boundary.replace()
        at_rest = boundary.most_resident_bytes()
        pid = boundary.pid
        answer = boundary.render(Path(name).read_bytes(), [(Output(width=100, height=100), Format.AUTO)])
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
        print(json.dumps(outcome), flush=True)
    boundary.close()


if __name__ == "__main__":
    main()
