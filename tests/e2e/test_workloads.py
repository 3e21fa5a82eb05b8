"""Pods of every kind that makes them, in one real mesh: their names, their order, their end, and what they keep."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pilotfish.runtime.http import blocking
from pilotfish.runtime.http.message import Request
from pilotfish.runtime.linux.netns import NetNs
from tests.e2e.harness import MakeMesh, Mesh
from tests.waiting import wait_until

MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: quiet, labels: {istio-injection: disabled}}
---
apiVersion: v1
kind: Service
metadata: {name: store}
spec: {clusterIP: None, selector: {app: store}, ports: [{name: http, port: 8000}]}
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {selector: {app: store}, ports: [{name: http, port: 80, targetPort: 8000}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  serviceName: store
  replicas: 2
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        command: [sh, -c, "hostname >> /data/index.html; exec python3 -m http.server 8000 --directory /data"]
        readinessProbe: {httpGet: {path: /, port: 8000}}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: client}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: app, command: [sleep, infinity]}]
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: plain}
spec:
  replicas: 2
  selector: {matchLabels: {app: plain}}
  template:
    metadata: {labels: {app: plain}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, command: [sleep, infinity]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    metadata: {labels: {app: once}}
    spec:
      restartPolicy: Never
      initContainers:
      - {name: helper, restartPolicy: Always, command: [sleep, infinity]}
      containers:
      - name: app
        command: [sh, -c, "until curl -sf http://store-0.store:8000/; do sleep 0.1; done; echo $JOB_NAME done"]
        env: [{name: JOB_NAME, valueFrom: {fieldRef: {fieldPath: "metadata.labels['job-name']"}}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        metadata: {labels: {app: tick}}
        spec: {restartPolicy: Never, containers: [{name: app, command: [echo, it is time]}]}
---
apiVersion: v1
kind: Secret
metadata: {name: word}
stringData: {word: swordfish}
---
apiVersion: v1
kind: Pod
metadata:
  name: reader
  labels: {app: reader}
  annotations:
    sidecar.istio.io/logLevel: error
    sidecar.istio.io/componentLogLevel: rbac:trace
    sidecar.istio.io/userVolume: '[{"name": "word", "secret": {"secretName": "word"}}]'
    sidecar.istio.io/userVolumeMount: '[{"name": "word", "mountPath": "/etc/of-the-proxy", "readOnly": true}]'
spec:
  serviceAccountName: clerk
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    command: [sleep, infinity]
    volumeMounts: [{name: about, mountPath: /var/run/about}]
  volumes:
  - name: about
    projected:
      sources:
      - serviceAccountToken: {path: token, audience: vault, expirationSeconds: 600}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
      - secret: {name: word, items: [{key: word, path: deep/word}]}
---
apiVersion: v1
kind: Pod
metadata: {name: loner, namespace: quiet, labels: {app: loner, sidecar.istio.io/inject: "true"}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, command: [sleep, infinity]}]}
"""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-workloads", MANIFESTS) as mesh:
        yield mesh


def apply(mesh: Mesh, text: str) -> None:
    mesh.call("apply", "-f", "-", stdin=text)


def named(mesh: Mesh, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(pod for pod in mesh.status["pods"] if pod["name"] == name)
    return found


def fetch(mesh: Mesh, host: str) -> list[str]:
    return mesh.curl("ds/client", f"http://{host}:8000/", "-f").stdout.split()


def status(mesh: Mesh, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mesh.call("get", kind, name, "-o", "json").stdout)["status"]
    return found


def claim_directory(mesh: Mesh, name: str) -> Path:
    return mesh.state / mesh.name / "storage" / "claims" / f"default.{name}"


def test_the_mesh_is_ready_and_every_kind_says_how_it_is(mesh: Mesh) -> None:
    assert mesh.call("status").returncode == 0
    assert mesh.call("get", "sts").stdout.splitlines()[1].split()[:2] == ["store", "2/2"]
    assert mesh.call("get", "ds").stdout.splitlines()[1].split()[:6] == ["client", "1", "1", "1", "1", "1"]
    assert mesh.call("get", "rs").stdout.splitlines()[1].split()[:4] == ["plain", "2", "2", "2"]
    assert mesh.call("get", "cronjobs").stdout.splitlines()[1].split()[:7] == ["tick", *"*****", "<none>"]
    assert mesh.call("get", "pvc").stdout.splitlines()[1].split()[:4] == ["data-store-0", "Bound", "1Gi", "RWO"]


def test_a_job_ends_although_its_sidecars_run(mesh: Mesh) -> None:
    wait_until("the Job is complete", lambda: status(mesh, "job", "once").get("completionTime"))
    assert mesh.call("get", "jobs").stdout.splitlines()[1].split()[:3] == ["once", "Complete", "1/1"]
    assert mesh.call("logs", "job/once").stdout.split() == ["store-0", "once", "done"]
    pod = wait_until("its sidecars are gone", lambda: _ended(mesh.pods("once")[0]))
    assert pod["captured"], "it had a proxy"
    assert not Path(pod["netns"]).exists()
    wait_until("the mesh is ready", lambda: mesh.status["ready"])


def _ended(pod: dict[str, Any]) -> dict[str, Any]:
    return {} if any(each.get("pid") for each in pod["containers"]) or Path(pod["netns"]).exists() else pod


def test_pods_of_a_stateful_set_are_called_by_their_own_names(mesh: Mesh) -> None:
    assert fetch(mesh, "store-0.store") == ["store-0"]
    assert fetch(mesh, "store-1.store.default.svc.cluster.local") == ["store-1"]
    assert fetch(mesh, "store")[0] in ("store-0", "store-1")
    assert mesh.exec("store-1", "hostname", "-f").stdout.strip().startswith("store-1")


def test_they_roll_from_the_last_to_the_first_and_keep_names_addresses_and_data(mesh: Mesh) -> None:
    before = {name: named(mesh, name) for name in ("store-0", "store-1")}
    mesh.call("rollout", "restart", "sts/store")
    said = mesh.call("rollout", "status", "statefulset/store").stdout
    assert said.splitlines()[-1].startswith("statefulset rolling update complete 2 pods at revision store-")
    after = {name: named(mesh, name) for name in ("store-0", "store-1")}
    assert before["store-0"]["created_at"] < after["store-1"]["created_at"] < after["store-0"]["created_at"]
    assert {name: pod["addresses"] for name, pod in after.items()} == {
        name: pod["addresses"] for name, pod in before.items()
    }
    assert fetch(mesh, "store-0.store") == ["store-0", "store-0"], "what it wrote before is there"
    assert fetch(mesh, "store-1.store") == ["store-1", "store-1"]


def test_no_call_fails_while_they_roll(mesh: Mesh) -> None:
    """Though each comes back to the address of the one that went."""
    calls = 'for n in $(seq 150); do curl -s -m 5 -o /dev/null -w "%{http_code}\\n" http://balanced/; sleep 0.03; done'
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(mesh.exec, "ds/client", "sh", "-c", calls)
        mesh.call("rollout", "restart", "sts/store")
        mesh.call("rollout", "status", "sts/store")
        answers = calling.result().stdout.split()
    assert Counter(answers) == {"200": 150}


def test_it_is_scaled_in_order_and_a_claim_outlives_its_pod(mesh: Mesh) -> None:
    mesh.call("scale", "sts/store", "--replicas", "1")
    wait_until("store-1 is gone", lambda: {pod["name"] for pod in mesh.pods("store")} == {"store-0"})
    assert (claim_directory(mesh, "data-store-1") / "index.html").read_text().split() == ["store-1"] * 3
    mesh.call("scale", "statefulset", "store", "--replicas", "2")
    mesh.call("rollout", "status", "sts/store")
    assert fetch(mesh, "store-1.store") == ["store-1"] * 4


def test_a_deleted_claim_goes_with_the_last_pod_that_has_it(mesh: Mesh) -> None:
    apply(
        mesh,
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: mine}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: holder, labels: {app: holder}}\n"
        "spec:\n  terminationGracePeriodSeconds: 1\n"
        "  containers: [{name: a, command: [sleep, infinity], volumeMounts: [{name: d, mountPath: /d}]}]\n"
        "  volumes: [{name: d, persistentVolumeClaim: {claimName: mine}}]\n",
    )
    wait_until("it runs", lambda: mesh.pods("holder") and mesh.pods("holder")[0]["ready"])
    mesh.exec("holder", "touch", "/d/kept")
    assert (claim_directory(mesh, "mine") / "kept").exists()
    mesh.call("delete", "pvc", "mine")
    mesh.exec("holder", "ls", "/d/kept")
    mesh.call("delete", "pod", "holder")
    wait_until("its directory is gone", lambda: not claim_directory(mesh, "mine").exists())


def test_a_persistent_volume_is_a_directory_of_the_machine(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "was-there").write_text("yes")
    apply(
        mesh,
        f"apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: disk}}\n"
        f"spec: {{capacity: {{storage: 1Gi}}, storageClassName: manual, hostPath: {{path: {tmp_path}}}}}\n---\n"
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: disk}\nspec: {storageClassName: manual}\n---\n"
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: disk}\n"
        "spec:\n  template:\n    spec:\n      restartPolicy: Never\n"
        "      containers:\n      - name: a\n        command: [sh, -c, 'cat /d/was-there; echo new > /d/left']\n"
        "        volumeMounts: [{name: d, mountPath: /d}]\n"
        "      volumes: [{name: d, persistentVolumeClaim: {claimName: disk}}]\n",
    )
    wait_until("the Job is complete", lambda: status(mesh, "job", "disk").get("completionTime"))
    assert mesh.call("logs", "job/disk").stdout == "yes"
    assert (tmp_path / "left").read_text() == "new\n"
    assert mesh.call("get", "pv").stdout.splitlines()[1].split()[:5] == [
        "disk",
        "1Gi",
        "Retain",
        "Bound",
        "default/disk",
    ]
    mesh.call("delete", "job", "disk")
    mesh.call("delete", "pvc", "disk")
    mesh.call("delete", "pv", "disk")
    wait_until("the claim is gone", lambda: not claim_directory(mesh, "disk").is_symlink())
    assert (tmp_path / "left").exists(), "it is the user's"


def test_a_path_that_the_machine_lacks_is_one_directory_of_the_mesh(mesh: Mesh, tmp_path: Path) -> None:
    lacking = tmp_path / "none"
    for name, command in (("writes", "echo kept > /d/word"), ("reads", "until cat /d/word; do sleep 0.1; done")):
        apply(
            mesh,
            f"apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\n"
            "spec:\n  template:\n    spec:\n      restartPolicy: Never\n"
            f"      containers:\n      - name: a\n        command: [sh, -c, '{command}']\n"
            "        volumeMounts: [{name: d, mountPath: /d}]\n"
            f"      volumes: [{{name: d, hostPath: {{path: {lacking}}}}}]\n",
        )
    wait_until(
        "both are complete", lambda: all(status(mesh, "job", n).get("completionTime") for n in ("writes", "reads"))
    )
    assert mesh.call("logs", "job/reads").stdout.splitlines()[-1] == "kept"
    assert not lacking.exists()
    assert f"hostPath {lacking} is not on this machine" in mesh.call("status", check=False).stdout
    mesh.call("delete", "jobs", "writes", "reads")


def test_a_job_that_fails_is_tried_again_and_then_said_to_have_failed(mesh: Mesh) -> None:
    apply(
        mesh,
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: bad}\n"
        "spec:\n  backoffLimit: 0\n  template:\n    metadata: {labels: {app: bad}}\n"
        "    spec: {restartPolicy: Never, containers: [{name: a, command: [sh, -c, 'echo no; exit 3']}]}\n",
    )
    wait_until("it has failed", lambda: "Failed" in mesh.call("get", "jobs").stdout)
    said = mesh.call("status", check=False)
    assert "warning: Job default/bad: it has failed (BackoffLimitExceeded)" in said.stdout
    wait_until("the mesh is ready: a cluster does not fail with a Job", lambda: mesh.status["ready"])
    assert mesh.call("logs", "job/bad").stdout == "no\n"
    mesh.call("delete", "job", "bad")
    wait_until("its pod is gone", lambda: not mesh.pods("bad"))


def test_indexes_of_a_job_know_which_they_are(mesh: Mesh) -> None:
    apply(
        mesh,
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: many}\n"
        "spec:\n  completions: 2\n  parallelism: 2\n  completionMode: Indexed\n  template:\n"
        "    metadata: {labels: {app: many}}\n    spec:\n      restartPolicy: Never\n"
        "      containers: [{name: a, command: [sh, -c, 'echo $(hostname) $JOB_COMPLETION_INDEX']}]\n",
    )
    wait_until("it is complete", lambda: status(mesh, "job", "many").get("completionTime"))
    assert status(mesh, "job", "many")["completedIndexes"] == "0,1"
    logs = {mesh.call("logs", pod["name"]).stdout for pod in mesh.pods("many")}
    assert logs == {"many-0 0\n", "many-1 1\n"}
    mesh.call("delete", "job", "many")


def test_a_token_of_its_service_account_and_other_projected_files(mesh: Mesh) -> None:
    token = mesh.exec("reader", "cat", "/var/run/about/token").stdout
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (claims["aud"], claims["sub"]) == (["vault"], "system:serviceaccount:default:clerk")
    assert claims["exp"] - claims["iat"] == 600
    assert claims["exp"] > time.time()
    assert claims["kubernetes.io"]["pod"]["name"] == "reader"
    assert 'app="reader"' in mesh.exec("reader", "cat", "/var/run/about/labels").stdout.splitlines()
    assert mesh.exec("reader", "cat", "/var/run/about/deep/word").stdout == "swordfish"
    assert mesh.exec("reader", "touch", "/var/run/about/x", check=False).returncode != 0


def test_a_proxy_sees_the_volumes_and_logs_at_the_levels_that_annotations_name(mesh: Mesh) -> None:
    pod = named(mesh, "reader")
    envoy = next(each["pid"] for each in pod["containers"] if each["name"] == "istio-proxy")
    assert Path(f"/proc/{envoy}/root/etc/of-the-proxy/word").read_text() == "swordfish"
    assert not Path("/etc/of-the-proxy").exists()
    socket = NetNs(Path(pod["netns"])).socket()
    levels = blocking.ask(socket, ("127.0.0.1", 15000), Request("POST", "/logging"), 5).body.decode()
    found = dict(line.strip().split(": ") for line in levels.splitlines() if ": " in line)
    assert (found["rbac"], found["http"], found["misc"]) == ("trace", "error", "error")


def test_a_namespace_that_says_disabled_has_no_sidecars(mesh: Mesh) -> None:
    loner = named(mesh, "loner")
    assert not loner["captured"]
    assert [each["name"] for each in loner["containers"]] == ["app"]
    answer = mesh.call(
        "exec", "loner", "-n", "quiet", "--", "curl", "-sS", "-m", "10", "http://store-0.store.default:8000/"
    )
    assert answer.stdout.split()[0] == "store-0", "names and Services are the node's"


def test_a_cron_job_makes_a_job_each_minute(mesh: Mesh) -> None:
    wait_until("a Job of it is complete", lambda: status(mesh, "cj", "tick").get("lastSuccessfulTime"), within=75)
    name = mesh.pods("tick")[0]["owner"]
    assert name.startswith("job/tick-")
    assert mesh.call("logs", name).stdout == "it is time\n"
    mesh.call("delete", "cronjob", "tick")
    wait_until("its Jobs and their pods are gone", lambda: not mesh.pods("tick"))
    assert "tick" not in mesh.call("get", "jobs").stdout
