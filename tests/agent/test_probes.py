"""Probes move to the agent, and keep what they were in its table."""

import pytest

from pilotfish.agent.probes import (
    AppProbe,
    parse_probers,
    port_number,
    probe_path,
    read_hooks,
    render_probers,
    rewrite_probes,
)
from pilotfish.config.kubernetes import (
    Container,
    ContainerPort,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    Lifecycle,
    LifecycleHandler,
    Probe,
    TCPSocketAction,
)
from pilotfish.config.values import IntOrString

WEB = (ContainerPort(name="web", container_port=8080),)


def http(port: int | str) -> HTTPGetAction:
    return HTTPGetAction(port=IntOrString(port), path="/ok")


def tcp(port: int | str) -> TCPSocketAction:
    return TCPSocketAction(port=IntOrString(port))


@pytest.mark.parametrize(
    ("probe", "kept"),
    [
        (Probe(http_get=http(80)), AppProbe(http_get=http(80))),
        (Probe(http_get=http("web"), timeout_seconds=5), AppProbe(http_get=http(8080), timeout_seconds=5)),
        (Probe(tcp_socket=tcp("web")), AppProbe(tcp_socket=tcp(8080))),
        (Probe(tcp_socket=tcp("81")), AppProbe(tcp_socket=tcp(81))),
        (Probe(grpc=GRPCAction(port=9000, service="s")), AppProbe(grpc=GRPCAction(port=9000, service="s"))),
    ],
)
def test_moved(probe: Probe, kept: AppProbe) -> None:
    app = Container(name="app", ports=WEB, readiness_probe=probe)
    found = rewrite_probes([app])
    assert found.table == {"/app-health/app/readyz": kept}
    moved = found.containers[0].readiness_probe
    assert moved is not None
    assert moved.http_get == HTTPGetAction(port=IntOrString(15020), path="/app-health/app/readyz")
    assert (moved.tcp_socket, moved.grpc, moved.timeout_seconds) == (None, None, probe.timeout_seconds)


@pytest.mark.parametrize("probe", [Probe(exec=ExecAction(command=("true",))), Probe(http_get=http("missing"))])
def test_stays(probe: Probe) -> None:
    app = Container(name="app", liveness_probe=probe)
    assert rewrite_probes([app]) == type(rewrite_probes([app]))((app,), {})


def test_three_kinds_have_three_paths() -> None:
    probe = Probe(tcp_socket=tcp(80))
    app = Container(name="a", liveness_probe=probe, readiness_probe=probe, startup_probe=probe)
    paths = ["/app-health/a/livez", "/app-health/a/readyz", "/app-health/a/startupz"]
    assert list(rewrite_probes([app], 15021).table) == paths
    assert [probe_path("a", "liveness"), probe_path("a", "readiness"), probe_path("a", "startup")] == paths


def test_the_environment_s_form_is_istio_s() -> None:
    text = '{"/app-health/a/livez": {"httpGet": {"path": "/h", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 3}}'
    probe = parse_probers(text)["/app-health/a/livez"]
    assert probe == AppProbe(http_get=HTTPGetAction(port=IntOrString(80), path="/h"), timeout_seconds=3)
    assert probe.http_get is not None
    assert port_number(probe.http_get.port) == 80


@pytest.mark.parametrize("text", ["", "[]", '{"/a": {"httpGet": {}}}', '{"/a": {"tcpSocket": {"port": []}}}'])
def test_a_broken_environment_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="ISTIO_KUBE_APP_PROBERS is not a table of probes"):
        parse_probers(text)


def test_it_can_be_written_as_the_environment_has_it() -> None:
    table = {"/p": AppProbe(tcp_socket=tcp(80)), "/h": AppProbe(http_get=http("web"), timeout_seconds=4)}
    assert parse_probers(render_probers(table)) == table


def test_hooks_have_the_time_that_a_pod_has_to_end_and_their_ports_by_number() -> None:
    hooks = Lifecycle(post_start=LifecycleHandler(http_get=http(80)), pre_stop=LifecycleHandler(http_get=http("web")))
    others = Lifecycle(pre_stop=LifecycleHandler(exec=ExecAction(command=("true",))))
    app = Container(name="app", ports=WEB, lifecycle=hooks)
    assert read_hooks([app, Container(name="b", lifecycle=others), Container(name="c")], grace=90) == {
        "/app-lifecycle/app/poststartz": AppProbe(http_get=http(80), timeout_seconds=600),
        "/app-lifecycle/app/prestopz": AppProbe(http_get=http(8080), timeout_seconds=90),
    }
