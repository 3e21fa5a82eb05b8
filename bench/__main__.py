"""All measurements, one after the other: `python -m bench`, or `make bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAMS_IN_PODS = ("http_server", "http_load", "http_steady")
PARTS = ("recorded_proxy",)


def main() -> int:
    names = sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py") if p.stem not in (*PROGRAMS_IN_PODS, *PARTS))
    failed = []
    for name in names:
        print(f"── {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode:
            failed.append(name)
    for name in failed:
        print(f"bench.{name} failed", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
