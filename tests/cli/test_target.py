"""Which pod a word means."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotfish.cli.failure import Failure
from pilotfish.cli.target import find_container, find_pod
from tests.cli.fakes import container, mesh_view, pod, service, status_view

VIEW = status_view(
    mesh_view("demo", Path("/nowhere")),
    services=(service("calc", selector={"app": "calc"}), service("idle", selector={"app": "idle"})),
    pods=(
        pod("web-0"),
        pod("web-0", "other"),
        pod("only", "other"),
        pod("dotted.name"),
        pod("calc-1", owner="deployment/calc", ready=False),
        pod("calc-2", owner="deployment/calc"),
        pod("calc-3", owner="deployment/calc", phase="Terminating"),
        pod("calc-4", labels={"app": "calc", "tier": "1"}),
        pod("db-0", owner="statefulset/db"),
        pod("each-x", owner="daemonset/db"),
        pod("once-a", owner="job/once", ready=False, created_at=1.0),
        pod("once-b", owner="job/once", ready=False, created_at=3.0),
        pod("once-c", owner="job/once", ready=False, created_at=2.0),
    ),
)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("web-0", "web-0.vm"),
        ("web-0.other", "web-0.other"),
        ("pod/web-0", "web-0.vm"),
        ("po/web-0.other", "web-0.other"),
        ("dotted.name", "dotted.name.vm"),
        ("dotted.name.vm", "dotted.name.vm"),
        ("deploy/calc", "calc-2.vm"),
        ("deployment/calc.vm", "calc-2.vm"),
        ("deployments.apps/calc", "calc-2.vm"),
        ("sts/db", "db-0.vm"),
        ("StatefulSet/db", "db-0.vm"),
        ("ds/db", "each-x.vm"),
        ("job/once", "once-b.vm"),
        ("jobs.batch/once", "once-b.vm"),
        ("svc/calc", "calc-4.vm"),
        ("service/calc.vm", "calc-4.vm"),
    ],
)
def test_pods_are_found(word: str, found: str) -> None:
    chosen = find_pod(VIEW, word, "vm")
    assert f"{chosen.name}.{chosen.namespace}" == found


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("only", 'pods "only" not found in namespace "vm"; it is in "other": use -n other or only.other'),
        ("absent", 'pods "absent" not found in namespace "vm"; \'pilotfish get pods -A\' lists all pods'),
        ("deploy/x", 'deployments.apps "x" not found in namespace "vm"; \'pilotfish get pods -A\' lists all pods'),
        ("svc/web", 'services "web" not found in namespace "vm"; \'pilotfish get pods -A\' lists all pods'),
        ("svc/idle", 'services "idle" in namespace "vm" has no pods'),
        ("vs/web", '"vs/web" names no pod: use NAME, NAME.NAMESPACE, pod/NAME, deploy/NAME or svc/NAME'),
        ("rs/db", 'replicasets.apps "db" not found in namespace "vm"; \'pilotfish get pods -A\' lists all pods'),
    ],
)
def test_one_that_is_not_there_is_explained(word: str, message: str) -> None:
    with pytest.raises(Failure) as caught:
        find_pod(VIEW, word, "vm")
    assert caught.value.message == message


def test_the_first_app_container_is_meant() -> None:
    chosen = pod("x", containers=(container("wait", "init"), container("istio-proxy", "proxy"), container("main")))
    assert find_container(chosen, None).name == "main"
    assert find_container(chosen, "istio-proxy").kind == "proxy"
    with pytest.raises(Failure, match=r"container nope is not in pod x\.vm; it has: wait, istio-proxy, main"):
        find_container(chosen, "nope")
    with pytest.raises(Failure, match="has no container yet: it is Pending"):
        find_container(pod("x", containers=(), reason="", phase="Pending"), None)
