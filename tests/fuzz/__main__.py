"""`make fuzz`: the tests of this folder with ever new objects, until the time is up or something is found."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.profile import TIMES

_TIMES_A_ROUND = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="after which no further round begins")
    end = time.monotonic() + 60 * parser.parse_args().minutes
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-o", "timeout=0", str(Path(__file__).parent)]
    while time.monotonic() < end:
        if code := subprocess.run(command, env={**os.environ, TIMES: str(_TIMES_A_ROUND)}).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
