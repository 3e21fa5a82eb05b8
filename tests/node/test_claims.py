"""Which directory a claim is, and what the mesh writes into volumes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pilotfish.config import load
from pilotfish.config.kubernetes import Pod
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, POD
from pilotfish.node import claims
from pilotfish.node import store as storing
from pilotfish.node.identity import PodIdentity
from pilotfish.node.projected import API_SERVER, File, TokenFile
from pilotfish.node.store import Store
from pilotfish.node.volumes import ClaimedDir, HostPath, VolumeFiles, build, build_mounts, build_proxy_mounts


def claim(name: str, more: str = "") -> str:
    return f"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}}}\nspec: {{{more}}}\n---\n"


def volume(name: str, more: str) -> str:
    return f"apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\nspec: {{{more}}}\n---\n"


def store(*texts: str) -> Store:
    """Each text is applied a second after the one before."""
    found = Store()
    for now, text in enumerate(texts):
        loaded = load(text, "-")
        assert not loaded.broken, loaded.problems
        found, _ = storing.apply(found, loaded, now)
    return found


def bound(*texts: str) -> dict[str, str]:
    """Claim → the PersistentVolume that it has, or why it waits."""
    found = claims.bind(store(*texts))
    return {ref.name: each.volume if isinstance(each, claims.Bound) else each for ref, each in found.items()}


HOST = "hostPath: {path: /data}"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([claim("a")], {}),
        ([claim("a", "storageClassName: fast")], {}),
        ([claim("a", "volumeName: v") + volume("v", HOST)], {"a": "v"}),
        ([claim("a"), volume("v", f"{HOST}, claimRef: {{name: a}}")], {"a": "v"}),
        ([claim("a"), volume("v", f"{HOST}, claimRef: {{name: a, namespace: other}}")], {}),
        ([claim("a", "storageClassName: manual") + volume("v", f"{HOST}, storageClassName: manual")], {"a": "v"}),
        ([claim("a") + volume("v", f"{HOST}, storageClassName: manual")], {}),
        ([claim("a") + claim("b") + volume("v", HOST) + volume("w", "local: {path: /w}")], {"a": "v", "b": "w"}),
        ([claim("a") + claim("b", "volumeName: v") + volume("v", HOST)], {"b": "v"}),
        ([claim("a"), volume("v", HOST)], {}),
        ([claim("a") + volume("v", "nfs: {server: a, path: /}")], {}),
    ],
    ids=[
        "none",
        "a class of a cluster",
        "named by the claim",
        "naming the claim",
        "naming another",
        "its class",
        "another class",
        "each its own",
        "who names it goes first",
        "a claim that was there has its directory",
        "no directory of this machine",
    ],
)
def test_which_volume_a_claim_has(texts: list[str], expected: dict[str, str]) -> None:
    assert bound(*texts) == expected


def test_a_claim_waits_for_the_volume_that_it_names() -> None:
    assert bound(claim("a", "volumeName: v")) == {"a": 'PersistentVolume "v" not found, or another claim has it'}


def test_what_is_shown_of_claims_and_volumes() -> None:
    held = store(claim("a", "resources: {requests: {storage: 1Gi}}") + volume("v", HOST) + volume("w", HOST))

    def shown(ref: ObjectRef) -> dict[str, object]:
        document = dict(held.objects[ref].manifest.document)
        claims.fill_in(document, held.objects[ref], held)
        return document

    of_claim = shown(PERSISTENT_VOLUME_CLAIM.ref("default", "a"))
    assert of_claim["status"] == {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    assert of_claim["spec"] == {"resources": {"requests": {"storage": "1Gi"}}, "volumeName": "v"}
    assert shown(PERSISTENT_VOLUME.ref("", "v"))["status"] == {"phase": "Bound"}
    assert shown(PERSISTENT_VOLUME.ref("", "w"))["status"] == {"phase": "Available"}


POD_TEXT = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}, annotations: {note: 'two "lines"'}}
spec:
  containers:
  - name: app
    command: [x]
    volumeMounts:
    - {name: data, mountPath: /data, subPath: in}
    - {name: shown, mountPath: /shown}
    - {name: all, mountPath: /all}
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: a}}
  - {name: shown, persistentVolumeClaim: {claimName: b, readOnly: true}}
  - name: all
    projected:
      defaultMode: 0o440
      sources:
      - configMap: {name: c, items: [{key: colour, path: deep/colour, mode: 0o400}]}
      - secret: {name: s, optional: true}
      - downwardAPI:
          items:
          - {path: labels, fieldRef: {fieldPath: metadata.labels}}
          - {path: name, fieldRef: {fieldPath: metadata.name}}
      - serviceAccountToken: {path: token}
      - serviceAccountToken: {path: other, audience: vault, expirationSeconds: 600}
  - name: about
    downwardAPI: {items: [{path: notes, fieldRef: {fieldPath: metadata.annotations}}]}
---
"""
COLOUR = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {colour: blue}\n---\n"


def identity(held: Store) -> PodIdentity:
    ref = POD.ref("default", "web")
    pod = held.objects[ref].manifest.resource
    assert isinstance(pod, Pod)
    return PodIdentity(
        ref=ref,
        uid="1",
        labels=pod.metadata.labels,
        annotations=pod.metadata.annotations,
        spec=pod.spec,
        addresses=("10.244.0.2",),
        host_ip="10.244.0.1",
        node_name="node",
        directory="/mesh/pods/default.web",
        folder="/src",
        storage="/mesh/storage",
    )


def test_the_content_of_volumes() -> None:
    held = store(POD_TEXT + COLOUR + claim("a") + claim("b") + volume("v", f"{HOST}, claimRef: {{name: b}}"))
    contents, missing = build(identity(held), held)
    assert missing == ()
    assert contents == (
        ClaimedDir("data", "/mesh/storage/claims/default.a"),
        ClaimedDir(
            "shown", "/mesh/storage/claims/default.b", HostPath("shown", "/data", "", "/mesh/storage/host/%2Fdata")
        ),
        VolumeFiles(
            "all",
            {
                "deep/colour": File(b"blue", 0o400),
                "labels": File(b'app="web"', 0o440),
                "name": File(b"web", 0o440),
                "token": TokenFile(API_SERVER, 3600, 0o440),
                "other": TokenFile("vault", 600, 0o440),
            },
        ),
        VolumeFiles("about", {"notes": File(b'note="two \\"lines\\""', 0o644)}),
    )


def test_where_containers_see_them() -> None:
    held = store(POD_TEXT)
    mounts, missing = build_mounts(identity(held), identity(held).spec.containers[0])
    assert missing == ()
    assert [(mount.source, mount.target, mount.read_only, mount.root) for mount in mounts] == [
        ("/mesh/storage/claims/default.a/in", "/data", False, "/mesh/storage/claims/default.a"),
        ("/mesh/storage/claims/default.b", "/shown", True, ""),
        ("/mesh/pods/default.web/volumes/all", "/all", True, ""),
    ]


def test_what_lacks_holds_the_pod_back() -> None:
    held = store(POD_TEXT + claim("b"))
    _, missing = build(identity(held), held)
    assert [(lack.field, lack.message) for lack in missing] == [
        ("spec.volumes[0]", 'PersistentVolumeClaim "a" not found'),
        ("spec.volumes[2]", 'ConfigMap "c" not found'),
    ]


def test_a_proxy_sees_the_volumes_that_annotations_name() -> None:
    held = store(POD_TEXT)
    asked = identity(held).spec.containers[0].volume_mounts[1:2]
    mounts = build_proxy_mounts(replace(identity(held), proxy_mounts=asked))
    assert [(mount.source, mount.target) for mount in mounts] == [("/mesh/storage/claims/default.b", "/shown")]


@pytest.mark.parametrize(
    ("volume", "mount", "otherwise"),
    [
        ("hostPath: {path: /srv/data/}", "/data", "/mesh/storage/host/%2Fsrv%2Fdata"),
        ("hostPath: {path: /srv, type: Directory}", "/data", ""),
        ("hostPath: {path: /srv, type: DirectoryOrCreate}", "/data", ""),
        ("hostPath: {path: /run/spire}", "/var/run/secrets/workload-spiffe-uds", ""),
    ],
    ids=["untyped", "typed", "made on the machine", "whoever gives certificates is waited for"],
)
def test_what_stands_for_a_path_that_the_machine_lacks(volume: str, mount: str, otherwise: str) -> None:
    text = f"""
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  containers: [{{name: app, command: [x], volumeMounts: [{{name: v, mountPath: {mount}}}]}}]
  volumes: [{{name: v, {volume}}}]
"""
    held = store(text)
    (content,), _ = build(identity(held), held)
    (mounted,), _ = build_mounts(identity(held), identity(held).spec.containers[0])
    assert isinstance(content, HostPath)
    assert (content.otherwise, mounted.otherwise) == (otherwise, otherwise)
