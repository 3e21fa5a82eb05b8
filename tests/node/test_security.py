"""As whom a container runs: the pod's securityContext, and its own, which wins."""

import pytest

from pilotfish.config import load
from pilotfish.config.kubernetes import Pod
from pilotfish.node import security
from pilotfish.node.environment import Missing
from pilotfish.node.security import Security


def built(pod: str, own: str) -> Security | Missing:
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n"
        f"  securityContext: {pod}\n  containers: [{{name: c, command: [x], securityContext: {own}}}]\n"
    )
    resource = load(text, "-").manifests[0].resource
    assert isinstance(resource, Pod)
    return security.build(resource.spec, resource.spec.containers[0], None)


USERS = [
    ("{}", "{}", (None, None, ())),
    ("{runAsUser: 5}", "{}", (5, 5, ())),
    ("{runAsUser: 5, runAsGroup: 6}", "{runAsUser: 7}", (7, 6, ())),
    ("{runAsUser: 5}", "{runAsUser: 0}", (0, 0, ())),
    ("{supplementalGroups: [8, 9], fsGroup: 9}", "{}", (None, None, (8, 9))),
]


@pytest.mark.parametrize(("pod", "own", "expected"), USERS)
def test_user_and_groups(pod: str, own: str, expected: tuple[object, ...]) -> None:
    made = built(pod, own)
    assert isinstance(made, Security)
    assert (made.uid, made.gid, made.groups) == expected


REFUSED = [
    ("{runAsNonRoot: true}", "{}", "spec.", "container has runAsNonRoot and image will run as root"),
    ("{runAsUser: 5}", "{runAsNonRoot: true, runAsUser: 0}", "", "container's runAsUser breaks non-root policy"),
]


@pytest.mark.parametrize(("pod", "own", "place", "words"), REFUSED)
def test_root_where_it_may_not_be_is_refused_in_kubernetes_words(pod: str, own: str, place: str, words: str) -> None:
    made = built(pod, own)
    assert isinstance(made, Missing)
    assert (made.field, made.message) == (f"{place}securityContext.runAsNonRoot", words)


@pytest.mark.parametrize(
    ("pod", "own"), [("{runAsNonRoot: true}", "{runAsUser: 5}"), ("{runAsNonRoot: true}", "{runAsNonRoot: false}")]
)
def test_others_start(pod: str, own: str) -> None:
    assert isinstance(built(pod, own), Security)


@pytest.mark.parametrize(
    ("own", "of_its_pod"),
    [
        ("{}", True),
        ("{capabilities: {drop: [ALL]}}", True),
        ("{capabilities: {add: [NET_ADMIN, NET_BROADCAST]}}", True),
        ("{capabilities: {add: [IPC_LOCK]}}", False),
        ("{capabilities: {drop: [ALL], add: [SYS_TIME]}}", False),
        ("{privileged: true}", False),
    ],
)
def test_who_has_rights_over_the_machine(own: str, of_its_pod: bool) -> None:
    made = built("{}", own)
    assert isinstance(made, Security)
    assert made.of_its_pod is of_its_pod
