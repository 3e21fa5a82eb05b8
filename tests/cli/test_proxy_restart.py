"""`proxy-restart`: whose Envoy it means."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Invoke
from tests.cli.fakes import FakeMesh, proxy


@pytest.mark.parametrize(
    ("words", "namespace", "name"),
    [
        (("webapp-0.vm",), "vm", "webapp-0"),
        (("webapp-0", "-n", "vm"), "vm", "webapp-0"),
        (("pod/lonely.other",), "other", "lonely"),
        (("deploy/calculator-v1", "-n", "vm"), "vm", "calculator-v1-6f-x2x"),
        (("node-1.istio-system",), "istio-system", "node-1"),
        (("node-1", "-n", "istio-system"), "istio-system", "node-1"),
    ],
)
def test_a_proxy_by_the_name_of_its_pod_or_its_machine(
    mesh: FakeMesh, invoke: Invoke, words: tuple[str, ...], namespace: str, name: str
) -> None:
    mesh.set(proxies=(*mesh.status.proxies, proxy("node-1", "istio-system")))
    result = invoke("proxy-restart", *words)
    assert result.exit_code == 0, result.stderr
    assert ("/proxy/restart", {"namespace": namespace, "name": name}) in mesh.asked
    assert result.stdout == f"another Envoy serves {name}.{namespace}; the one before ends its connections\n"


def test_a_name_that_no_proxy_has(mesh: FakeMesh, invoke: Invoke) -> None:
    result = invoke("proxy-restart", "nobody.vm")
    assert result.exit_code == 1
    assert 'pods "nobody' in result.stderr
    assert all(path != "/proxy/restart" for path, _ in mesh.asked)
