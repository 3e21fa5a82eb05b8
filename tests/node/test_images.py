"""What an image says of its containers, and what registries are told."""

from __future__ import annotations

import base64
import json
import signal
from dataclasses import replace

import msgspec
import pytest

from pilotfish.config import load
from pilotfish.config.kubernetes import Container, LocalReference, Pod
from pilotfish.model import kinds
from pilotfish.node import images, launch, limits
from pilotfish.node.identity import PodIdentity
from pilotfish.node.images import Image
from pilotfish.node.launch import Launch
from pilotfish.node.store import Store, apply

IMAGE = Image(
    "0123456789abcdef", ("/upper", "/lower"), entrypoint=("run",), cmd=("a", "b"),
    env=("GREETING=hello", "PATH=/bin", "EMPTY=", "no-equals"), user="app", working_dir="/srv",
)  # fmt: skip

COMMANDS = [
    ((), (), ("run", "a", "b")),
    ((), ("c",), ("run", "c")),
    (("sh",), (), ("sh",)),
    (("sh",), ("c",), ("sh", "c")),
]


@pytest.mark.parametrize(("command", "args", "expected"), COMMANDS)
def test_command_and_arguments(command: tuple[str, ...], args: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """The table of https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/."""
    assert IMAGE.argv(Container(name="c", command=command, args=args)) == expected


SIGNALS = [
    ("", signal.SIGTERM), ("SIGQUIT", signal.SIGQUIT), ("quit", signal.SIGQUIT), ("9", signal.SIGKILL),
    ("SIGRTMIN+3", signal.SIGRTMIN + 3), ("SIGNOSUCH", signal.SIGTERM), ("0", signal.SIGTERM),
]  # fmt: skip


@pytest.mark.parametrize(("written", "number"), SIGNALS)
def test_stop_signals(written: str, number: int) -> None:
    assert replace(IMAGE, stop_signal=written).stop == number


def pod(spec: str = "{containers: [{name: c, image: nginx}]}", annotations: str = "{}") -> PodIdentity:
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: {annotations}}}\nspec: {spec}\n"
    loaded = load(text, "pod.yaml")
    assert not loaded.problems, loaded.problems
    resource = loaded.manifests[0].resource
    assert isinstance(resource, Pod)
    return PodIdentity(
        kinds.POD.ref("default", "p"), "uid", {}, resource.metadata.annotations, resource.spec, ("10.0.0.1",),
        "10.0.0.9", "node", "/run/p", "/work",
    )  # fmt: skip


def built(identity: PodIdentity, image: Image | None = IMAGE) -> Launch:
    made = launch.build(identity, identity.spec.containers[0], Store(), {}, {"PATH": "/machine"}, image)
    assert isinstance(made, Launch), made
    return made


def test_the_environment_is_the_images_under_the_manifests() -> None:
    spec = "{containers: [{name: c, image: nginx, env: [{name: EMPTY, value: full}]}]}"
    env = built(pod(spec)).env
    assert env == {"PATH": "/bin", "GREETING": "hello", "EMPTY": "full", "HOSTNAME": "p"}
    assert built(pod(spec), replace(IMAGE, env=())).env["PATH"].startswith("/usr/local/sbin:")


def test_folder_and_user_are_the_images_where_nothing_is_said() -> None:
    made = built(pod())
    assert (made.cwd, made.security.user, made.security.gid) == ("/srv", "app", None)
    assert built(pod(), replace(IMAGE, working_dir="")).cwd == "/"
    spec = "{securityContext: {runAsUser: 5, runAsGroup: 6}, containers: [{name: c, image: nginx, workingDir: /x}]}"
    made = built(pod(spec))
    assert (made.cwd, made.security.user, made.security.gid) == ("/x", "5", 6)


ROOTS = [
    ("", "image will run as root"), ("0:5", "image will run as root"), ("app", "non-numeric user (app)"),
    ("1000:app", None),
]  # fmt: skip


@pytest.mark.parametrize(("user", "said"), ROOTS)
def test_non_root_goes_by_the_images_user(user: str, said: str | None) -> None:
    identity = pod("{containers: [{name: c, image: nginx, securityContext: {runAsNonRoot: true}}]}")
    made = launch.build(identity, identity.spec.containers[0], Store(), {}, {}, replace(IMAGE, user=user))
    if said is None:
        assert isinstance(made, Launch)
    else:
        assert not isinstance(made, Launch)
        assert said in made[0].message


def test_no_command_at_all_is_said() -> None:
    identity = pod()
    made = launch.build(identity, identity.spec.containers[0], Store(), {}, {}, replace(IMAGE, entrypoint=(), cmd=()))
    assert not isinstance(made, Launch)
    assert "no command is specified" in made[0].message


def test_a_process_without_a_command_is_said() -> None:
    identity = pod()
    made = launch.build(identity, identity.spec.containers[0], Store(), {}, {})
    assert not isinstance(made, Launch)
    assert made[0].message == "a process needs a command"


def test_an_annotation_makes_it_a_process() -> None:
    both = "{containers: [{name: c, image: nginx, command: [x]}]}"
    assert images.names_image(pod(both), pod(both).spec.containers[0])
    as_process = pod(both, "{pilotfish.io/run: process}")
    assert not images.names_image(as_process, as_process.spec.containers[0])
    plain = pod("{containers: [{name: c, command: [x]}]}")
    assert not images.names_image(plain, plain.spec.containers[0])


def test_limits_are_read() -> None:
    spec = "{containers: [{name: c, image: nginx, resources: {limits: {cpu: 250m, memory: 64Mi}, requests: {cpu: 1}}}]}"
    assert built(pod(spec)).limits == limits.Limits(0.25, 64 << 20)
    none = "{containers: [{name: c, image: nginx, resources: {limits: {cpu: 0, memory: 0}}}]}"
    assert not built(pod(none)).limits


SECRETS = """
apiVersion: v1
kind: Secret
metadata: {name: one}
type: kubernetes.io/dockerconfigjson
stringData:
  .dockerconfigjson: '{"auths": {"a.example": {"username": "u", "password": "p"}, "b.example": {"auth": "dTE6cDE="}}}'
---
apiVersion: v1
kind: Secret
metadata: {name: old}
type: kubernetes.io/dockercfg
stringData: {.dockercfg: '{"b.example": {"auth": "dTI6cDI="}, "c.example": {"auth": "dTM6cDM="}}'}
---
apiVersion: v1
kind: Secret
metadata: {name: bad}
stringData: {.dockerconfigjson: 'no JSON'}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default}
imagePullSecrets: [{name: old}]
"""


def credentials(*names: str) -> tuple[dict[str, str], tuple[str, ...]]:
    identity = pod()
    secrets = tuple(LocalReference(name=name) for name in names)
    store, _ = apply(Store(), load(SECRETS, "secrets.yaml"), 0)
    spec = msgspec.structs.replace(identity.spec, image_pull_secrets=secrets)
    content, missing = images.build_credentials(replace(identity, spec=spec), store)
    auths = json.loads(content)["auths"] if content else {}
    return {host: base64.b64decode(each["auth"]).decode() for host, each in auths.items()}, missing


def test_pull_secrets_are_merged_the_first_wins() -> None:
    assert credentials("one", "old") == ({"a.example": "u:p", "b.example": "u1:p1", "c.example": "u3:p3"}, ())


def test_without_its_own_a_pod_has_its_accounts() -> None:
    assert credentials() == ({"b.example": "u2:p2", "c.example": "u3:p3"}, ())


def test_a_secret_that_lacks_is_said() -> None:
    found, missing = credentials("absent", "bad", "old")
    assert found["c.example"] == "u3:p3"
    assert missing == (
        'the pull secret absent: Secret "absent" not found',
        "the pull secret bad: .dockerconfigjson is no JSON",
    )
