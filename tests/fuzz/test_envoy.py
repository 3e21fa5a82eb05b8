"""A real Envoy takes what drawn meshes lead to, one after another."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import given

from pilotfish.model import Proxy
from pilotfish.runtime.discovery.trial import Verdict, trial
from tests.fuzz.profile import fuzzed
from tests.fuzz.worlds import GATEWAY, Written, hold, worlds

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
CLIENT = Proxy.of_pod("a-0", "vm", ("10.244.0.1",), labels={"app": "a", "version": "v1"})


@pytest.mark.parametrize("proxy", [CLIENT, GATEWAY], ids=["sidecar", "gateway"])
def test_envoy_takes_what_is_right(proxy: Proxy) -> None:
    with asyncio.Runner() as runner:
        context = trial(proxy)
        envoy = runner.run(context.__aenter__())

        def give(written: Written) -> None:
            assert runner.run(envoy.give(written.world().mesh.desired)) == Verdict((), ())

        try:
            fuzzed(15)(given(worlds())(lambda written: hold(written, give)))()
        finally:
            runner.run(context.__aexit__(None, None, None))
