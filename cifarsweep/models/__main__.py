"""Prints models as JSON lines, for callers without torch: `python -m cifarsweep.models NAME...`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from pydantic import ValidationError

from cifarsweep.errors import CifarsweepError
from cifarsweep.models.listing import rows


def main() -> int:
    """Print a line for each model, or one sentence on stderr; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cifarsweep.models")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--timm", metavar="PATTERN")
    parser.add_argument("--img-size", type=int)
    given = parser.parse_args()
    try:
        for row in rows(given.names, given.timm, given.classes, given.img_size):
            print(json.dumps(asdict(row)))
    except CifarsweepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except ValidationError as error:
        wrong = error.errors()[0]
        print(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}, not {wrong['input']!r}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
