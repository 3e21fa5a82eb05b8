"""Memory and descriptors: what is flat, and what is not."""

from __future__ import annotations

import os

from tests.chaos.gauges import Held, grown, read


def test_what_stays_is_nothing() -> None:
    assert grown([{"node": Held(60.0, 100)}, {"node": Held(65.0, 105)}]) == []


def test_what_grows_is_named() -> None:
    memory, descriptors = grown([{"node": Held(60.0, 100)}, {"node": Held(200.0, 400)}])
    assert "node holds 200.0 MB, and 60.0 at the start" in memory
    assert "400 descriptors" in descriptors


def samples(*memory: float) -> list[dict[str, Held]]:
    return [{"node": Held(each, 100)} for each in memory]


def test_in_a_long_run_what_levels_off_is_flat_and_what_goes_on_is_not() -> None:
    assert grown(samples(35, 50, 60, 70, *[75, 100, 72] * 4)) == []
    (said,) = grown(samples(*range(35, 95, 3)))
    assert said == "node holds 84.5 MB, and 63.5 in the second third of the run"


def test_a_process_is_read_as_the_kernel_has_it() -> None:
    status = {"mesh": {"pid": os.getpid()}, "discovery": {"pid": os.getpid()}, "proxies": []}
    held = read(status)["node"]
    assert held.memory > 1
    assert held.descriptors > 2
