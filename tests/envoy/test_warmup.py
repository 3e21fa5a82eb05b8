"""An endpoint that is new gets its full share only after a while."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, Start
from tests.envoy.levels import LEVELS, RULE, service
from tests.waiting import wait_until

SECONDS = 4
BY_TURNS = "simple: ROUND_ROBIN"
WARMUP = f"duration: {SECONDS}s, minimumPercent: 5, aggression: 1"
SERVICES = {
    **{level: (level, f"{BY_TURNS}, warmup: {{{WARMUP}}}") for level in LEVELS},
    "least": (RULE, f"simple: LEAST_REQUEST, warmup: {{{WARMUP}}}"),
    "old": (RULE, f"{BY_TURNS}, warmupDurationSecs: {SECONDS}s"),
    "much": (RULE, f"{BY_TURNS}, warmup: {{{WARMUP.replace('nt: 5', 'nt: 95')}}}"),
    "steep": (RULE, f"{BY_TURNS}, warmup: {{{WARMUP.replace('on: 1', 'on: 100')}}}"),
}
EARLY = {"much", "steep"}
"""Those where a new endpoint soon gets almost as much as another."""
ADDRESSES = {f"10.96.0.{index}": f"{name}.example.com" for index, name in enumerate(SERVICES, 1)}


def _mesh(ports: tuple[int, ...]) -> str:
    endpoints = [f"address: {PEER4}, ports: {{port: {port}}}" for port in ports]
    return "".join(
        service(level, name, address, f"loadBalancer: {{{balancer}}}", endpoints)
        for address, (name, (level, balancer)) in zip(ADDRESSES, SERVICES.items(), strict=True)
    )


def test_a_new_endpoint_is_warmed_up(start: Start) -> None:
    live = start(_mesh((8001,)))
    for port in (8001, 8002):
        live.start_app(live.peer, PEER4, port, f"app{port}")

    def share(address: str) -> float:
        sent = f"GET / HTTP/1.1\r\nHost: {ADDRESSES[address]}\r\nConnection: close\r\n\r\n"
        answers = [answer for answer, _ in call_all(live.netns, address, 80, [[(0, sent)]] * 60)]
        return sum("app8002" in answer for answer in answers) / len(answers)

    def shares() -> dict[str, float]:
        with ThreadPoolExecutor(len(ADDRESSES)) as pool:
            return dict(zip(SERVICES, pool.map(share, ADDRESSES), strict=True))

    time.sleep(SECONDS)  # the first one is warm
    live.update(_mesh((8001, 8002)))
    found = shares()
    assert {name for name, share in found.items() if share > 0.42} == EARLY, f"half is what an old one gets: {found}"
    wait_until("all have their full share", lambda: min(shares().values()) > 0.45)
