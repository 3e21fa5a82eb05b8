"""`make fuzz`: the tests with objects that nobody thought of, ever new ones, until the time is up or one is found."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.profile import TIMES

_TIMES_A_ROUND = 5
_HERE = Path(__file__).parent
_TESTS = (_HERE, *(_HERE.parent / "cluster" / f"test_{name}.py" for name in ("definitions", "source_fuzz")))
"""The last two ask an API server what it thinks of them."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="after which no further round begins")
    end = time.monotonic() + 60 * parser.parse_args().minutes
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-o", "timeout=0", *map(str, _TESTS)]
    while time.monotonic() < end:
        if code := subprocess.run(command, env={**os.environ, TIMES: str(_TIMES_A_ROUND)}).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
