"""A container as a process: environment, volumes, user."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from pilotfish.config import load
from pilotfish.config.kubernetes import Pod
from pilotfish.model import kinds
from pilotfish.node import environment, launch, volumes
from pilotfish.node.addresses import addresses, next_offset
from pilotfish.node.folder import describe_hidden
from pilotfish.node.identity import PodIdentity
from pilotfish.node.launch import Launch
from pilotfish.node.listening import build_notes, parse_proc_net
from pilotfish.node.projected import File
from pilotfish.node.publish import Publish
from pilotfish.node.services import CLUSTER_IPS, dns_address
from pilotfish.node.store import Store, apply
from pilotfish.node.volumes import Mount, VolumeFiles

OBJECTS = r"""
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue, size: "3"}
binaryData: {raw: AAE=}
---
apiVersion: v1
kind: Secret
metadata: {name: password}
data: {word: "c3dvcm\nRmaXNo\n"}
stringData: {user: fish}
---
apiVersion: v1
kind: Service
metadata: {name: my-calculator}
spec:
  selector: {app: c}
  ports: [{name: http-web, port: 8888}, {name: tcp, port: 9}]
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {tier: "1"}}
spec:
  securityContext: {runAsUser: 100}
  volumes:
  - {name: config, configMap: {name: settings, items: [{key: colour, path: a/colour, mode: 0o400}]}}
  - {name: secret, secret: {secretName: password}}
  - {name: maybe, configMap: {name: absent, optional: true}}
  - {name: shared, emptyDir: {}}
  - {name: host, hostPath: {path: /srv}}
  containers:
  - name: app
    command: [run, "$(COLOUR)", "$$(COLOUR)", "$(NOBODY)"]
    args: ["$(BOTH)"]
    envFrom:
    - {prefix: P_, configMapRef: {name: settings}}
    - {configMapRef: {name: absent, optional: true}}
    env:
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: WORD, valueFrom: {secretKeyRef: {name: password, key: word}}}
    - {name: GONE, valueFrom: {secretKeyRef: {name: password, key: none, optional: true}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
    - {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
    - {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
    - {name: BOTH, value: "$(COLOUR)-$(TIER)-$(MY_CALCULATOR_SERVICE_PORT)"}
    volumeMounts:
    - {name: config, mountPath: /etc/c}
    - {name: shared, mountPath: /shared, subPath: sub}
    - {name: host, mountPath: /host, readOnly: true}
"""
IPS = {"my-calculator": "10.96.1.2"}


def store(text: str = OBJECTS) -> Store:
    return apply(Store(), load(text, "-"), now=1.0)[0]


def identity(text: str = POD) -> PodIdentity:
    loaded = load(text, "-")
    assert loaded.problems == ()
    resource = loaded.manifests[0].resource
    assert isinstance(resource, Pod)
    return PodIdentity(
        ref=kinds.POD.ref("default", "p"),
        uid="u",
        labels=resource.metadata.labels,
        annotations={},
        spec=resource.spec,
        addresses=("10.244.0.2", "fd70:6600:244::2"),
        host_ip="10.244.0.1",
        node_name="node",
        directory="/run/m/pods/default.p",
        folder="/src",
    )


def built(pod: PodIdentity, store_: Store | None = None) -> Launch:
    made = launch.build(pod, pod.spec.containers[0], store_ or store(), IPS, {"PATH": "/bin"})
    assert isinstance(made, Launch), made
    return made


def test_environment() -> None:
    env = built(identity()).env
    assert env["PATH"] == "/bin"
    assert env["HOSTNAME"] == "p"
    assert (env["COLOUR"], env["WORD"], env["TIER"], env["ACCOUNT"]) == ("blue", "swordfish", "1", "default")
    assert (env["IP"], env["IPS"]) == ("10.244.0.2", "10.244.0.2,fd70:6600:244::2")
    assert env["P_size"] == "3"
    assert "GONE" not in env
    assert env["BOTH"] == "blue-1-8888"
    assert env["MY_CALCULATOR_SERVICE_HOST"] == "10.96.1.2"
    assert env["MY_CALCULATOR_SERVICE_PORT_HTTP_WEB"] == "8888"
    assert env["MY_CALCULATOR_PORT_9_TCP"] == "tcp://10.96.1.2:9"


def test_command_is_expanded_as_kubernetes_does_it() -> None:
    assert built(identity()).argv == ("run", "blue", "$(COLOUR)", "$(NOBODY)", "blue-1-8888")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(B)", "$(B)"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("a$", "a$"),
        ("$(A)$(A)", "11"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert environment.expand(text, {"A": "1"}) == expected


def test_user_folder_and_mounts() -> None:
    made = built(identity())
    assert (made.security.uid, made.security.gid, made.cwd) == (100, 100, "/src")
    assert set(made.mounts) >= {
        Mount("/run/m/pods/default.p/etc/resolv.conf", "/etc/resolv.conf", True),
        Mount("/run/m/pods/default.p/volumes/config", "/etc/c", True),
        Mount("/run/m/pods/default.p/volumes/shared/sub", "/shared", False, "/run/m/pods/default.p/volumes/shared"),
        Mount("/srv", "/host", True, "", "/host/%2Fsrv"),
    }


def test_what_is_missing_is_named() -> None:
    pod = identity()
    lacks = launch.build(pod, pod.spec.containers[0], Store(), {}, {})
    assert isinstance(lacks, tuple)
    assert [(lack.field, lack.message) for lack in lacks] == [
        ("envFrom[0]", 'ConfigMap "settings" not found'),
        ("env[0].valueFrom", 'ConfigMap "settings" not found'),
        ("env[1].valueFrom", 'Secret "password" not found'),
    ]
    changed = store(OBJECTS.replace("colour: blue, ", ""))
    lacks = launch.build(pod, pod.spec.containers[0], changed, IPS, {})
    assert isinstance(lacks, tuple)
    assert [lack.message for lack in lacks] == ['ConfigMap "settings" has no key "colour"']


def test_volumes() -> None:
    contents, missing = volumes.build(identity(), store())
    assert missing == ()
    by_name = {content.name: content for content in contents}
    assert by_name["config"] == VolumeFiles("config", {"a/colour": File(b"blue", 0o400)})
    assert by_name["secret"] == VolumeFiles("secret", {"user": File(b"fish", 0o644), "word": File(b"swordfish", 0o644)})
    assert by_name["maybe"] == VolumeFiles("maybe", {})


def test_a_secret_is_not_shown() -> None:
    assert "swordfish" not in repr(volumes.build(identity(), store()))


def test_resolv_conf_is_kubernetes() -> None:
    text = launch.render_resolv_conf("vm", dns_address(CLUSTER_IPS))
    assert text.splitlines() == [
        "search vm.svc.cluster.local svc.cluster.local cluster.local",
        "nameserver 10.96.0.10",
        "options ndots:5",
    ]


def test_hosts_name_the_pod() -> None:
    lines = launch.render_hosts(identity()).splitlines()
    assert "10.244.0.2\tp" in lines
    assert "fd70:6600:244::2\tp" in lines


def test_addresses_go_round() -> None:
    subnets = __import__("ipaddress")
    v4, v6 = subnets.ip_network("10.244.0.0/16"), subnets.ip_network("fd70:6600:244::/64")
    assert addresses(next_offset(set(), 0), v4, v6) == ("10.244.0.2", "fd70:6600:244::2")
    assert next_offset({2, 3}, 3) == 4
    assert next_offset({3}, 0xFFFC) == 2, "the last three are the host's"
    assert next_offset(set(), 12, addresses=16) == 2
    with pytest.raises(ValueError, match="no pod address is left"):
        next_offset(range(2, 13), 2, addresses=16)
    assert addresses(2, v4, None) == ("10.244.0.2",)


TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 00000000:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   2: 0100007F:1F41 0100007F:1F40 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0
"""
TCP6 = """  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:22B9 00000000000000000000000000000000:0000 0A 0 0 0 0 0 1
   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0 0 0 0 0 1
"""


def test_listening_sockets() -> None:
    assert parse_proc_net(TCP) == ((ip_address("127.0.0.1"), 8000), (ip_address("0.0.0.0"), 15001))
    assert parse_proc_net(TCP6) == ((ip_address("::"), 8889), (ip_address("::1"), 80))


def test_notes_name_port_and_remedy() -> None:
    listeners = (*parse_proc_net(TCP), *parse_proc_net(TCP6))
    notes = build_notes([("shy.vm:80", 8000), ("fine.vm:1", 8889), ("none.vm:5", 5)], listeners, False)
    assert len(notes) == 2
    assert "8000" in notes[0]
    assert "127.0.0.1 only" in notes[0]
    assert "0.0.0.0" in notes[0]
    assert "nothing listens on port 5" in notes[1]


def test_notes_where_the_mesh_calls_apps_at_their_loopback() -> None:
    listeners = (*parse_proc_net(TCP), (ip_address("10.244.0.5"), 81))
    (note,) = build_notes([("fine.vm:80", 8000), ("all.vm:1", 15001), ("own.vm:5", 81)], listeners, True)
    assert "port 81 (own.vm:5) listens on 10.244.0.5 only" in note
    assert "LOCALHOST" in note


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:webapp.vm:8889", Publish("127.0.0.1", 8080, "webapp", "vm", "8889")),
        ("8080:webapp:http", Publish("127.0.0.1", 8080, "webapp", "default", "http")),
        ("0.0.0.0:80:w.vm:1", Publish("0.0.0.0", 80, "w", "vm", "1")),
        ("[::1]:80:w.vm.svc.cluster.local:1", Publish("::1", 80, "w", "vm", "1")),
        ("53:dns.vm:53/udp", Publish("127.0.0.1", 53, "dns", "vm", "53", "UDP")),
        ("53:svc/dns:dns/tcp", Publish("127.0.0.1", 53, "dns", "default", "dns")),
        ("0:pod/web-0.vm:80", Publish("127.0.0.1", 0, "web-0", "vm", "80", "TCP", True)),
    ],
)
def test_publish_is_parsed(text: str, expected: Publish) -> None:
    assert Publish.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["8080", "8080:webapp", "99999:w.vm:1", "300.0.0.1:80:w.vm:1", "a:b:c", "1:node/a:2", "1:a:2/sctp", ""]
)
def test_publish_that_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        Publish.parse(text)


def test_working_dir_wins_over_the_manifests_folder() -> None:
    pod = identity(POD.replace("  - name: app\n", "  - name: app\n    workingDir: /usr\n"))
    assert built(pod).cwd == "/usr"
    assert built(replace(pod, folder="/other")).cwd == "/usr"


HIDING = {
    "an ancestor": ("/src", "emptyDir: {}", "/", True),
    "the folder itself": ("/src/app", "emptyDir: {}", "/", True),
    "the root of a host": ("/src", "hostPath: {path: /other}", "/", True),
    "the same folder of the host": ("/src", "hostPath: {path: /src}", "/src/app", False),
    "below it": ("/src/app/cache", "emptyDir: {}", "/src/app", False),
    "beside it": ("/sr", "emptyDir: {}", "/src/app", False),
}


@pytest.mark.parametrize(("path", "volume", "cwd", "said"), HIDING.values(), ids=HIDING)
def test_a_mount_over_the_manifests_folder_is_said_and_the_root_is_begun_in(
    path: str, volume: str, cwd: str, said: bool
) -> None:
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: vm}\nspec: {containers: [{name: c, command: [x], "
        f"volumeMounts: [{{name: v, mountPath: {path}}}]}}], volumes: [{{name: v, {volume}}}]}}\n"
    )
    pod = replace(identity(text), folder="/src/app")
    assert built(pod).cwd == cwd
    assert [problem.field for problem in describe_hidden(pod)] == [
        "spec.containers[0].volumeMounts[0].mountPath"
    ] * said
