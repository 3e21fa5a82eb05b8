"""The cluster of the tests, by hand: `python -m tests.cluster build [control | node | ...]` and `... api-server`.

`build` makes what is not in the cache yet; `api-server` runs one until Control-C, and says how it is reached.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from tests.cluster import programs
from tests.cluster.api_server import own_api_server

_PARTS: dict[str, Callable[[], object]] = {
    "control": programs.control,
    "node": programs.node,
    "coredns": programs.coredns,
    "debian": programs.debian,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").add_argument("parts", nargs="*", choices=[*_PARTS, []], help="all, if none is named")
    commands.add_parser("api-server")
    options = parser.parse_args()
    try:
        if options.command == "build":
            for part in options.parts or _PARTS:
                print(_PARTS[part]())
        else:
            programs.control()
            with own_api_server() as server:
                print(f"export KUBECONFIG={server.api.kubeconfig}", flush=True)
                signal.pause()
    except programs.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
