"""The cluster of the tests, by hand: `python -m tests.cluster build [PART...]`, `... api-server`, `... node`.

`build` makes what is not in the cache yet. The others run until Control-C or SIGTERM, and say how they are reached.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.cluster import images, programs
from tests.cluster.api_server import own_api_server
from tests.cluster.node import running_node

_PARTS: dict[str, Callable[[], object]] = {
    "control": programs.control,
    "node": programs.node,
    "coredns": programs.coredns,
    "debian": programs.debian,
    "images": images.archives,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").add_argument("parts", nargs="*", choices=[*_PARTS, []], help="all, if none is named")
    commands.add_parser("api-server")
    commands.add_parser("node").add_argument("images", nargs="*", type=Path, help="archives of more images")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background has the first ignored
        signal.signal(number, signal.default_int_handler)
    try:
        if options.command == "build":
            _build(options.parts)
        elif options.command == "api-server":
            programs.control()
            with own_api_server() as server:
                print(f"export KUBECONFIG={server.api.kubeconfig}", flush=True)
                signal.pause()
        else:
            _build(())
            with running_node() as node:
                for archive in options.images:
                    node.load(archive)
                print(f"export KUBECONFIG={node.kubectl.kubeconfig}")
                print(f"{shlex.join(node.command())} bash    # from where its addresses are reached", flush=True)
                signal.pause()
    except programs.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _build(parts: Sequence[str]) -> None:
    for part in parts or _PARTS:
        _PARTS[part]()


if __name__ == "__main__":
    sys.exit(main())
