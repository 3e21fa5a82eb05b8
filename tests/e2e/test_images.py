"""A container with an image runs as that image does in Kubernetes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pilotfish.runtime.linux.cgroups import Hierarchies
from tests.e2e.harness import PILOTFISH, REPOSITORY, MakeMesh, Mesh, run
from tests.images import BUSYBOX, built_image, podman
from tests.registry import Registry, running_registry
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    shutil.which("podman") is None or not BUSYBOX.exists(), reason="podman or busybox-static is missing"
)

CONFIGURATION = """
ENV PATH=/bin GREETING=hello
USER app
WORKDIR /srv
VOLUME /data
STOPSIGNAL SIGUSR1
ENTRYPOINT ["busybox"]
CMD ["httpd", "-f", "-p", "8080", "-h", "/srv"]
"""

MANIFESTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      volumes: [{name: settings, configMap: {name: settings}}]
      containers:
      - name: web
        image: IMAGE
        ports: [{containerPort: 8080}]
        readinessProbe: {exec: {command: [test, -f, /srv/ready]}}
        volumeMounts: [{name: settings, mountPath: /srv/settings}]
---
apiVersion: v1
kind: Pod
metadata: {name: tools, labels: {app: tools}}
spec:
  volumes: [{name: shared, emptyDir: {}}, {name: over, emptyDir: {}}]
  initContainers:
  - name: first
    image: IMAGE
    command: [sh, -c, "echo from-init > /shared/word"]
    volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
  - name: shell
    image: IMAGE
    command: [sh, -c]
    args: ["trap 'echo told; exit 0' USR1; echo begun $GREETING $COLOUR; touch /tmp/live; while :; do sleep 0.1; done"]
    env:
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    livenessProbe: {exec: {command: [test, -f, /tmp/live]}, periodSeconds: 1, failureThreshold: 1}
    lifecycle: {postStart: {exec: {command: [touch, /tmp/hooked]}}}
    volumeMounts: [{name: shared, mountPath: /shared}, {name: over, mountPath: /usr}, {name: over, mountPath: /home}]
  - name: root
    image: IMAGE
    args: [sleep, "100000"]
    workingDir: /new/folder
    securityContext: {runAsUser: 0, readOnlyRootFilesystem: true}
  - name: numbered
    image: IMAGE
    command: [sleep, "100000"]
    securityContext: {runAsUser: 4321, runAsNonRoot: true}
  - name: process
    command: [sleep, "100000"]
    volumeMounts: [{name: over, mountPath: OURS}]
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with built_image(tmp_path_factory.mktemp("images"), "app", CONFIGURATION) as name:
        yield name


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh, image: str) -> Iterator[Mesh]:
    with make_mesh("images", MANIFESTS.replace("IMAGE", image).replace("OURS", str(REPOSITORY))) as mesh:
        yield mesh
    assert podman("ps", "--all", "--quiet", "--filter", f"label=io.pilotfish.mesh={mesh.name}") == ""
    assert not Path("/var/lib/pilotfish", mesh.name).exists()


def execute(mesh: Mesh, container: str, *command: str, check: bool = True) -> str:
    return mesh.call("exec", "tools", "-c", container, "--", *command, check=check).stdout


def container(mesh: Mesh, pod: str, name: str) -> dict[str, Any]:
    found = next(each for each in mesh.status["pods"] if each["name"] == pod)
    return next(c for c in found["containers"] if c["name"] == name)


def test_entrypoint_and_arguments_of_the_image_serve_through_the_sidecars(mesh: Mesh) -> None:
    answer = mesh.call("exec", "tools", "-c", "process", "--", "curl", "-sS", "-m", "10", "http://web/").stdout
    assert answer == "hello from the image\n"


def test_environment_user_groups_home_and_folder_are_the_images(mesh: Mesh) -> None:
    (web,) = mesh.pods("web")
    inside = mesh.call("exec", web["name"], "-c", "web", "--", "sh", "-c", "id; pwd; echo $HOME $PATH $GREETING").stdout
    assert inside.splitlines() == [
        "uid=1000(app) gid=1001(app) groups=1001(app),2000(extra)",
        "/srv",
        "/home/app /bin hello",
    ]


def test_its_status_names_the_image(mesh: Mesh, image: str) -> None:
    (web,) = json.loads(mesh.call("get", "pods", "-l", "app=web", "-o", "json").stdout)["items"]
    (status,) = web["status"]["containerStatuses"]
    assert (status["image"], status["imageID"]) == (image, podman("inspect", "--format", "{{.Id}}", image).strip())


def test_users_of_the_manifest_win(mesh: Mesh) -> None:
    assert execute(mesh, "root", "id").startswith("uid=0(root) gid=0(root)")
    assert execute(mesh, "numbered", "id").split()[:2] == ["uid=4321", "gid=0(root)"]


def test_files_are_the_images_alone_and_what_it_writes_is_its_own(mesh: Mesh, image: str) -> None:
    listed = execute(mesh, "shell", "ls", "/").split()
    assert set(listed) == {"bin", "data", "dev", "etc", "home", "proc", "root", "shared", "srv", "sys", "tmp", "usr"}
    execute(mesh, "shell", "sh", "-c", "echo changed > /tmp/mine")
    assert execute(mesh, "numbered", "ls", "/tmp") == ""
    assert not Path("/tmp/mine").exists()
    assert execute(mesh, "process", "ls", "/var/lib/pilotfish") == ""


def test_what_every_program_expects_is_there(mesh: Mesh) -> None:
    script = (
        "echo x > /dev/null; test -c /dev/urandom -a -d /dev/shm -a -L /dev/fd; cat /proc/1/comm; cat /etc/hostname"
    )
    assert execute(mesh, "shell", "sh", "-ec", script).split() == ["sleep", "tools"]
    assert "nameserver 10.96.0.10" in execute(mesh, "shell", "cat", "/etc/resolv.conf")


def test_a_root_that_may_make_device_files_opens_none(mesh: Mesh) -> None:
    script = "mknod /data/disk b 254 0 && cat /data/disk"
    done = mesh.call("exec", "tools", "-c", "root", "--", "sh", "-c", script, check=False)
    # Where a user namespace owns the pod's network, it may not even make one.
    assert any(why in done.stderr for why in ("Permission denied", "Operation not permitted")), done.stderr
    for setting in ("/proc/sys/kernel/core_pattern", "/sys/kernel/mm/ksm/run"):
        script = f"echo x > {setting}"
        done = mesh.call("exec", "tools", "-c", "root", "--", "sh", "-c", script, check=False)
        assert "Read-only" in done.stderr


def test_a_read_only_root_leaves_the_images_volumes_writable(mesh: Mesh) -> None:
    done = mesh.call("exec", "tools", "-c", "root", "--", "touch", "/srv/x", check=False)
    assert "Read-only file system" in done.stderr
    execute(mesh, "root", "touch", "/data/x", "/dev/shm/x")
    assert execute(mesh, "root", "pwd") == "/new/folder\n"


def test_volumes_are_shared_and_follow_their_objects(mesh: Mesh) -> None:
    assert execute(mesh, "shell", "cat", "/shared/word") == "from-init\n"
    (web,) = mesh.pods("web")
    read = ("exec", web["name"], "-c", "web", "--", "cat", "/srv/settings/colour")
    assert mesh.call(*read).stdout == "blue"
    mesh.write("more.yaml", MANIFESTS.split("---")[0].replace("blue", "green"))
    mesh.write("mesh.yaml", (mesh.sources / "mesh.yaml").read_text().replace("colour: blue", "colour: green"))
    (mesh.sources / "more.yaml").unlink()
    wait_until("the new colour", lambda: mesh.call(*read).stdout == "green")


def test_probes_and_hooks_see_the_containers_own_files(mesh: Mesh) -> None:
    execute(mesh, "shell", "test", "-f", "/tmp/hooked")
    before = container(mesh, "tools", "shell")["restarts"]
    execute(mesh, "shell", "rm", "/tmp/live")
    wait_until("a restart", lambda: container(mesh, "tools", "shell")["restarts"] == before + 1)
    wait_until("its start", lambda: container(mesh, "tools", "shell")["state"] == "running")
    wait_until("the image's files as they were", lambda: execute(mesh, "shell", "ls", "/tmp/live", check=False) != "")
    previous = mesh.call("logs", "tools", "-c", "shell", "--previous").stdout
    assert previous.startswith("begun hello ")
    assert "told" in previous, "the image's STOPSIGNAL is what asks it to end"


def test_a_mount_over_our_own_files_keeps_nothing_from_starting(mesh: Mesh) -> None:
    assert execute(mesh, "process", "ls", str(REPOSITORY)) == ""


def test_exit_codes_are_kubernetes(mesh: Mesh) -> None:
    assert mesh.call("exec", "tools", "-c", "shell", "--", "nosuch", check=False).returncode == 127
    assert mesh.call("exec", "tools", "-c", "shell", "--", "sh", "-c", "exit 3", check=False).returncode == 3


def test_claims_and_tokens_are_in_containers_of_an_image_too(mesh: Mesh, image: str) -> None:
    text = f"""
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: keeper}}
spec:
  selector: {{matchLabels: {{app: keeper}}}}
  template:
    metadata: {{labels: {{app: keeper}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: {image}
        command: [sh, -c, "echo again >> /kept/runs; exec sleep 100000"]
        securityContext: {{runAsUser: 1000}}
        volumeMounts: [{{name: kept, mountPath: /kept}}, {{name: token, mountPath: /token}}]
      volumes: [{{name: token, projected: {{sources: [{{serviceAccountToken: {{path: token}}}}]}}}}]
  volumeClaimTemplates: [{{metadata: {{name: kept}}, spec: {{accessModes: [ReadWriteOnce]}}}}]
"""
    mesh.call("apply", "-f", "-", stdin=text)
    mesh.call("rollout", "status", "sts/keeper")
    assert mesh.exec("keeper-0", "cat", "/token/token").stdout.count(".") == 2
    mesh.call("rollout", "restart", "sts/keeper")
    mesh.call("rollout", "status", "sts/keeper")
    wait_until("it is as it was", lambda: mesh.exec("keeper-0", "cat", "/kept/runs").stdout == "again\nagain\n")
    mesh.call("delete", "sts", "keeper")


def test_podman_removes_no_image_that_runs(mesh: Mesh, image: str) -> None:
    done = subprocess.run(["podman", "rmi", image], capture_output=True, text=True, check=False)
    assert "in use by a container" in done.stderr


def test_limits_hold_and_a_container_beyond_is_killed(make_mesh: MakeMesh, image: str) -> None:
    manifests = f"""
apiVersion: v1
kind: Pod
metadata: {{name: limited}}
spec:
  containers:
  - name: hog
    image: {image}
    command: [sh, -c, "while ! test -f /tmp/go; do sleep 0.1; done; dd if=/dev/zero of=/dev/null bs=200M count=1"]
    resources: {{limits: {{memory: 64Mi}}}}
  - name: process
    command: [python3, -c, {json.dumps(BUSY)}]
    resources: {{limits: {{cpu: 200m}}}}
"""
    with make_mesh("limits", manifests) as mesh:
        script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; cat /proc/self/cgroup"
        seen = mesh.call("exec", "limited", "-c", "hog", "--", "sh", "-c", script).stdout
        assert str(64 << 20) in seen, "it sees how much it may take"
        assert "pf-" not in seen
        mesh.call("exec", "limited", "-c", "hog", "--", "touch", "/tmp/go")
        killed = wait_until("the kill", lambda: _terminated(mesh, "limited", "hog"))
        assert "OOMKilled" in killed["reason"] + killed["message"]

        def used() -> str:
            return mesh.call("logs", "limited", "-c", "process").stdout

        seconds = float(wait_until("what it took in 3 s", used))
        assert seconds < 1.5, "200m of a processor are 0.6 s in 3 s"
    assert not [*Path("/sys/fs/cgroup").glob(f"**/pf-{mesh.name}")]


def test_where_no_limit_can_be_held_it_is_said_once(tmp_path: Path) -> None:
    """`up` may not write to the control groups, as in most containers."""
    name = f"unlimited-{os.getpid()}"
    env = {**os.environ, "PILOTFISH_STATE": str(tmp_path / "state"), "NO_COLOR": "1"}
    manifest = tmp_path / "pods.yaml"
    limited = "resources: {limits: {memory: 64Mi, cpu: 1}}"
    manifest.write_text(
        "---\n".join(
            f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}}}\n"
            f"spec: {{containers: [{{name: c, command: [sleep, '9999'], {limited}}}]}}\n"
            for number in range(2)
        )
    )
    found = Hierarchies.find()
    places = {str(place) for place in (found.memory, found.cpu) if place is not None}
    forbid = " && ".join(f"mount -o remount,ro,bind {place}" for place in places)
    up = f"{forbid or 'true'} && exec {PILOTFISH} up {manifest} --name {name} --detach"
    try:
        run("unshare", "--mount", "--propagation", "unchanged", "sh", "-c", up, env=env)
        problems = json.loads(run(PILOTFISH, "status", "--name", name, "-o", "json", env=env).stdout)["problems"]
        (note,) = [problem for problem in problems if problem["reason"] == "LimitsNotEnforced"]
        assert note["severity"] == "info"
    finally:
        run(PILOTFISH, "down", "--name", name, env=env)


NOTHING = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: none}"
BUSY = """
import time
end = time.time() + 3
while time.time() < end:
    pass
print(time.process_time(), flush=True)
time.sleep(1e5)
"""


def _terminated(mesh: Mesh, pod: str, name: str) -> dict[str, Any] | None:
    found = container(mesh, pod, name)
    return found if found["restarts"] or found["state"] == "terminated" else None


def test_the_annotation_makes_processes_of_containers(make_mesh: MakeMesh) -> None:
    manifests = """
apiVersion: v1
kind: Pod
metadata: {name: native, annotations: {pilotfish.io/run: process}}
spec: {containers: [{name: c, image: "example.invalid/nowhere:1", command: [sleep, "100000"]}]}
"""
    with make_mesh("native", manifests) as mesh:
        assert Path("/etc/os-release").read_text() == mesh.exec("native", "cat", "/etc/os-release").stdout


@pytest.fixture
def registry(tmp_path: Path, image: str) -> Iterator[Registry]:
    with running_registry(tmp_path / "registry") as registry:
        podman("save", "--quiet", "--format", "docker-dir", "--output", tmp_path / "saved", image)
        registry.folders["team/app/1"] = tmp_path / "saved"
        yield registry
        subprocess.run(["podman", "rmi", "--force", f"{registry.address}/team/app:1"], capture_output=True, check=False)


def test_pulls_with_a_secret_and_shows_how_far_it_is(
    make_mesh: MakeMesh, registry: Registry, monkeypatch: pytest.MonkeyPatch, image: str
) -> None:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registry.config))
    registry.account = ("reader", "swordfish")
    secret = json.dumps({"auths": {registry.address: {"username": "reader", "password": "swordfish"}}})
    pod = f"""
apiVersion: v1
kind: Pod
metadata: {{name: pulled}}
spec:
  imagePullSecrets: [{{name: leave}}]
  containers: [{{name: c, image: "{registry.address}/team/app:1", command: [sleep, "100000"], imagePullPolicy: Always}}]
"""
    with make_mesh("pulls", {"a.yaml": NOTHING}) as mesh:
        mesh.write("pod.yaml", pod)
        refused = wait_until("a refusal", lambda: _reason(mesh, "ErrImagePull"))
        assert "unauthorized" in refused["message"]
        assert 'Secret "leave" not found' in refused["message"]
        (problem,) = [p for p in mesh.status["problems"] if p["reason"] == "ErrImagePull"]
        assert problem["field"] == "spec.containers[c].image"
        told = mesh.call("describe", "pod", "pulled").stdout.partition("Events:")[2]
        assert re.search("Warning +Failed .* container c: ErrImagePull", told)
        registry.go_on.clear()
        mesh.write(
            "secret.yaml",
            f"apiVersion: v1\nkind: Secret\nmetadata: {{name: leave}}\ntype: kubernetes.io/dockerconfigjson\n"
            f"stringData: {{.dockerconfigjson: '{secret}'}}\n",
        )
        wait_until("how far the pull is", lambda: "pulling" in container(mesh, "pulled", "c")["message"])
        registry.go_on.set()
        wait_until("the pod", lambda: container(mesh, "pulled", "c")["state"] == "running")
        assert not [p for p in mesh.status["problems"] if p["reason"] == "ErrImagePull"]
        assert f"pulled {registry.address}/team/app:1" in (mesh.state / mesh.name / "node.log").read_text()


def test_who_waits_for_a_pull_holds_up_no_end(
    make_mesh: MakeMesh, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registry.config))
    registry.go_on.clear()
    pod = f"""
apiVersion: v1
kind: Pod
metadata: {{name: pulled}}
spec: {{containers: [{{name: c, image: "{registry.address}/team/app:1", imagePullPolicy: Always}}]}}
"""
    with make_mesh("waits", {"a.yaml": NOTHING}) as mesh:
        mesh.write("pod.yaml", pod)
        wait_until("the pull", lambda: "/blobs/" in "".join(registry.asked))
        mesh.call("delete", "pod", "pulled")
        wait_until("its end", lambda: not mesh.status["pods"], within=5)
        mesh.write("pod.yaml", pod.replace("pulled", "other"))
        wait_until("another", lambda: mesh.status["pods"] and "pulling" in container(mesh, "other", "c")["message"])
        began = time.monotonic()
        mesh.call("down")
        assert time.monotonic() - began < 10
    assert "podman\0pull" not in _commands()


def _reason(mesh: Mesh, reason: str) -> dict[str, Any] | None:
    pods = [pod for pod in mesh.status["pods"] if pod["name"] == "pulled"]
    found = pods and container(mesh, "pulled", "c")
    return found if found and found["reason"] == reason else None


def test_never_waits_for_an_image_that_is_loaded(make_mesh: MakeMesh, tmp_path: Path, image: str) -> None:
    archives = {"docker-archive": tmp_path / "docker.tar", "oci-archive": tmp_path / "oci.tar"}
    names = {form: f"docker.io/library/pilotfish-{form}-{os.getpid()}:1" for form in archives}
    for form, file in archives.items():
        podman("tag", image, names[form])
        podman("save", "--quiet", "--format", form, "--output", file, names[form])
        podman("rmi", names[form])
    pods = "---".join(
        f"""
apiVersion: v1
kind: Pod
metadata: {{name: {form}}}
spec: {{containers: [{{name: c, image: "{name}", imagePullPolicy: Never, args: [sleep, "9999"]}}]}}
"""
        for form, name in ((form, full.rpartition("/")[2]) for form, full in names.items())
    )
    try:
        with make_mesh("loads", {"a.yaml": NOTHING}) as mesh:
            mesh.write("pods.yaml", pods)
            for form in archives:
                wait_until("no image", partial(_waits, mesh, form, "ErrImageNeverPull"))
            for form, file in archives.items():
                assert names[form] in mesh.pilotfish("image", "load", file).stdout
            for form in archives:
                wait_until("its start", partial(_runs, mesh, form))
            listed = mesh.pilotfish("image", "ls").stdout
            assert all(name.removesuffix(":1") in listed for name in names.values())
    finally:
        for name in names.values():
            subprocess.run(["podman", "rmi", "--force", name], capture_output=True, check=False)


def _waits(mesh: Mesh, pod: str, reason: str) -> bool:
    return any(each["name"] == pod and each["containers"][0]["reason"] == reason for each in mesh.status["pods"])


def _runs(mesh: Mesh, pod: str) -> bool:
    return bool(container(mesh, pod, "c")["state"] == "running")


def test_without_podman_one_command_is_named(
    tmp_path: Path, make_mesh: MakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in os.environ["PATH"].split(":"):
        for program in Path(folder).glob("*"):
            if program.name != "podman" and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))
    with make_mesh("nopodman", {"a.yaml": NOTHING}) as mesh:
        mesh.write(
            "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: nginx}]}"
        )

        def said() -> str:
            return next((p["message"] for p in mesh.status["problems"] if p["reason"] == "ErrImagePull"), "")

        assert "apt-get install podman" in wait_until("the problem", said)


def test_nothing_is_left_after_kill_9(tmp_path: Path, image: str) -> None:
    name = f"killed-{os.getpid()}"
    env = {**os.environ, "PILOTFISH_STATE": str(tmp_path / "state"), "NO_COLOR": "1"}
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: '{image}', "
        "args: [sleep, '987654'], resources: {limits: {memory: 64Mi}}}]}\n"
    )
    try:
        run(PILOTFISH, "up", manifest, "--name", name, "--detach", env=env)
        os.kill(json.loads((tmp_path / "state" / name / "mesh.json").read_text())["pid"], signal.SIGKILL)
    finally:
        run(PILOTFISH, "down", "--name", name, env=env)
    wait_until("the end of its processes", lambda: "sleep\0987654" not in _commands())
    assert podman("ps", "--all", "--quiet", "--filter", f"label=io.pilotfish.mesh={name}") == ""
    assert not Path("/var/lib/pilotfish", name).exists()
    assert not [*Path("/sys/fs/cgroup").glob(f"**/pf-{name}")]
    assert "/pilotfish/" not in Path("/proc/self/mounts").read_text()


def _commands() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return "".join(found)
