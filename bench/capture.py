"""Capture: how fast rules are made, and how many connections the evaluator judges in a second.

    python -m bench.capture [--seconds N]

Everything is in this process: no kernel. The rules are those of a pod with all inbound ports, all outbound addresses
and DNS captured. Times are the best of five.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

from pilotfish.capture import ALL, CaptureSpec, Connection, Evaluator, Mode, parse_iptables, render_iptables, rules

_SPEC = CaptureSpec(
    inbound_ports_include=ALL,
    inbound_ports_exclude=(15020, 15021, 15090),
    outbound_ip_ranges_include=ALL,
    outbound_ports_exclude=(15020,),
    redirect_dns=True,
    capture_all_dns=True,
)
_CONNECTIONS = {
    "an application calls a service": "10.96.0.7:8888",
    "its proxy calls the service's pod": "10.244.0.3:8888 uid=1337 gid=1337",
    "its proxy calls its own pod": "10.244.0.2:8888 uid=1337 gid=1337 local=yes",
    "it calls itself": "127.0.0.1:8888",
    "it asks for a name": "out udp 10.96.0.10:53",
    "somebody calls it": "in tcp 10.244.0.2:8888 from 10.244.0.9",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.2, help="how long each figure is measured, five times")
    seconds = parser.parse_args().seconds
    text = render_iptables(rules(_SPEC, 4))
    made = _per_second(lambda: render_iptables(rules(_SPEC, 4)), seconds)
    print(f"{'rules made and rendered, one family':46}{1000 / made:9.2f} ms")
    print(f"{'the same read back':46}{1000 / _per_second(lambda: parse_iptables(text), seconds):9.2f} ms")
    for mode in Mode:
        evaluator = Evaluator(rules(replace(_SPEC, mode=mode), 4))
        for what, line in _CONNECTIONS.items():
            connection = Connection.parse(line)
            print(f"{f'{mode}: {what}':46}{_rate(evaluator, connection, seconds):9,.0f} connections/s")
    connection = Connection.parse(_CONNECTIONS["an application calls a service"])
    explained = _per_second(lambda: Evaluator(rules(_SPEC, 4)).evaluate(connection).visited, seconds)
    print(f"{'rules made, compiled, one connection explained':46}{1000 / explained:9.2f} ms")


def _rate(evaluator: Evaluator, connection: Connection, seconds: float) -> float:
    return _per_second(lambda: evaluator.evaluate(connection), seconds)


def _per_second(call: Callable[[], object], seconds: float) -> float:
    best = 0.0
    for _ in range(5):
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            call()
            count += 1
        best = max(best, count / spent)
    return best


if __name__ == "__main__":
    main()
