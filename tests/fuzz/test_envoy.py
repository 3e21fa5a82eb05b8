"""A real Envoy takes what drawn meshes lead to, one after another."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given

from pilotfish.config.desired import DesiredState
from pilotfish.model import Proxy
from pilotfish.runtime.discovery.trial import Verdict, trial
from tests.fuzz import words
from tests.fuzz.profile import fuzzed
from tests.fuzz.worlds import GATEWAY, Written, hold, worlds

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
CLIENT = Proxy.of_pod("a-0", "vm", ("10.244.0.1",), labels={"app": "a", "version": "v1"})


@pytest.fixture(scope="module")
def files() -> Iterator[Path]:
    """A certificate, its key, and the authority that signed it: itself."""
    with TemporaryDirectory(prefix="pftest-") as made:
        new = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=a")
        command = ["openssl", "req", *new, "-days", "9", "-keyout", f"{made}/key.pem", "-out", f"{made}/cert.pem"]
        subprocess.run(command, check=True, capture_output=True)
        yield Path(made)


@pytest.mark.parametrize("proxy", [CLIENT, GATEWAY], ids=["sidecar", "gateway"])
def test_envoy_takes_what_is_right(proxy: Proxy, files: Path) -> None:
    with asyncio.Runner() as runner:
        context = trial(proxy)
        envoy = runner.run(context.__aenter__())

        def give(written: Written) -> None:
            assert runner.run(envoy.give(_desired(written, files))) == Verdict((), ())

        try:
            fuzzed(15)(given(worlds())(lambda written: hold(written, give)))()
        finally:
            runner.run(context.__aexit__(None, None, None))


def _desired(written: Written, files: Path) -> DesiredState:
    text = json.dumps([written.objects, written.mesh_config])
    for name, file in ((words.CERTIFICATE, "cert.pem"), (words.KEY, "key.pem"), (words.AUTHORITY, "cert.pem")):
        text = text.replace(name, str(files / file))
    objects, mesh_config = json.loads(text)
    return Written(tuple(objects), mesh_config).world().mesh.desired
