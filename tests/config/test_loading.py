from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest

from pilotfish.config import ListReader, load
from pilotfish.config.kinds import STRUCTS
from pilotfish.config.kubernetes import ConfigMap, Deployment, Pod, Service
from pilotfish.config.manifest import Loaded
from pilotfish.config.values import IntOrString
from pilotfish.model import Severity, Source, kinds

SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: calculator
spec:
  selector: {app: calculator}
  ports:
  - {name: http, port: 8888, targetPort: web}
"""


def _refs(loaded: Loaded) -> list[str]:
    return [str(manifest.ref) for manifest in loaded.manifests]


def _service(name: str, **metadata: object) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, **metadata},
        "spec": {"ports": [{"port": 80}]},
    }


def _list(*items: object, version: str = "7") -> bytes:
    value = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": version}, "items": items}
    return json.dumps(value).encode()


def test_an_object_is_decoded_with_its_namespace_and_source() -> None:
    loaded = load(f"---\n{SERVICE}", "mesh.yaml", "vm")
    (manifest,) = loaded.manifests
    assert loaded.problems == ()
    assert manifest.ref == kinds.SERVICE.ref("vm", "calculator")
    assert manifest.source == Source("mesh.yaml", 2)
    assert isinstance(manifest.resource, Service)
    assert manifest.resource.metadata.namespace == "vm"
    assert manifest.resource.spec.ports[0].target_port == IntOrString("web")
    assert manifest.document["apiVersion"] == "v1"
    assert manifest.document["metadata"] == {"name": "calculator", "namespace": "vm"}


def test_what_is_written_out_again_reads_the_same() -> None:
    first = load(SERVICE, "a.yaml", "vm")
    again = load(json.dumps(first.manifests[0].document), "-", "default")
    assert again.manifests == first.manifests


def test_a_namespace_has_none_itself() -> None:
    loaded = load("{apiVersion: v1, kind: Namespace, metadata: {name: vm, namespace: odd}}", "-")
    assert _refs(loaded) == ["Namespace vm"]
    assert loaded.manifests[0].document["metadata"] == {"name": "vm"}


def test_the_source_annotation_wins() -> None:
    bad = _service("a", annotations={"pilotfish.io/source": "/mesh/app.yaml:12"}) | {"extra": 1}
    (problem,) = load(json.dumps(bad), "objects.json").problems
    assert problem.source == Source("/mesh/app.yaml", 12)


def test_an_object_that_is_written_twice_is_used_once() -> None:
    loaded = load(f"{SERVICE}---\n{SERVICE.replace('8888', '9999')}", "a.yaml")
    (manifest,) = loaded.manifests
    (problem,) = loaded.problems
    assert isinstance(manifest.resource, Service)
    assert manifest.resource.spec.ports[0].port == 8888
    assert (problem.reason, problem.source) == ("DuplicateObject", Source("a.yaml", 10))
    assert "a.yaml:1" in problem.message
    assert loaded.broken == frozenset()


def test_of_two_the_good_one_is_used_and_the_ref_is_not_broken() -> None:
    loaded = load(f"{SERVICE.replace('port: 8888', 'port: 0')}---\n{SERVICE}", "a.yaml")
    assert _refs(loaded) == ["Service default/calculator"]
    assert loaded.broken == frozenset()
    assert [problem.reason for problem in loaded.problems] == ["InvalidValue"]


def test_a_syntax_error_names_the_object_that_it_seems_to_be() -> None:
    broken = SERVICE.replace("app: calculator}", "app: calculator")
    loaded = load(f"{broken}---\n{SERVICE.replace('calculator', 'other')}", "a.yaml", "vm")
    assert _refs(loaded) == ["Service vm/other"]
    assert loaded.broken == {kinds.SERVICE.ref("vm", "calculator")}
    assert not loaded.incomplete


@pytest.mark.parametrize("line", ["apiVersion: networking.istio.io/v2", "apiVersion: v1", "apiVersion: 1", ""])
@pytest.mark.parametrize("rest", ["spec: {hosts: [a]}", "spec: {hosts: [a}"])
def test_a_slip_in_the_version_breaks_the_object_that_was_meant(line: str, rest: str) -> None:
    """Its last good form stays in force, whether or not the text is YAML."""
    loaded = load(f"{line}\nkind: VirtualService\nmetadata:\n  name: a\n{rest}\n", "a.yaml", "vm")
    assert loaded.broken == {kinds.VIRTUAL_SERVICE.ref("vm", "a")}


def test_another_apis_kind_of_the_same_name_is_another_object() -> None:
    gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\n"
    loaded = load(
        gateway + "---\n" + gateway.replace("gateway.networking.k8s.io", "networking.istio.io"), "a.yaml", "vm"
    )
    assert {ref.kind.qualified for ref in loaded.broken} == {
        "gateway.gateway.networking.k8s.io",
        "gateway.networking.istio.io",
    }


@pytest.mark.parametrize(
    "text", ["a: [", "- kind: Service", "kind: Service", "apiVersion: v1\nkind: Service\nmetadata: {}"]
)
def test_a_text_whose_objects_are_not_known_is_incomplete(text: str) -> None:
    loaded = load(text, "a.yaml")
    assert loaded.incomplete
    assert loaded.problems


def test_lists_are_unfolded() -> None:
    text = f"""\
apiVersion: v1
kind: List
metadata: {{resourceVersion: "41"}}
items:
- apiVersion: v1
  kind: ServiceList
  items:
  - {json.dumps(_service("a"))}
- {json.dumps(_service("b"))}
- apiVersion: v1
  kind: Service
  metadata: {{name: c}}
  spec:
    ports:
    - port: 0
- apiVersion: v1
  kind: Service
  metadata: {{name: d}}
  metadata: {{name: d}}
"""
    loaded = load(text, "a.yaml")
    assert _refs(loaded) == ["Service default/a", "Service default/b"]
    assert loaded.resource_version == "41"
    assert [(p.field, p.source) for p in loaded.problems] == [
        ("spec.ports[0].port", Source("a.yaml", 15)),
        ("spec", Source("a.yaml", 16)),
        ("metadata", Source("a.yaml", 19)),
    ]
    assert loaded.broken == {kinds.SERVICE.ref("default", "c"), kinds.SERVICE.ref("default", "d")}


def test_unsupported_volumes_and_variables_are_used_as_what_is_said_of_them() -> None:
    text = """\
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  serviceAccount: runner
  containers:
  - name: app
    command: [sleep]
    env: [{name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, nfs: {server: a, path: /}}]
"""
    loaded = load(text, "a.yaml")
    pod = loaded.manifests[0].resource
    assert isinstance(pod, Pod)
    assert {problem.severity for problem in loaded.problems} == {Severity.WARNING}
    assert pod.spec.volumes[0].empty_dir is not None
    assert pod.spec.containers[0].env[0].value == ""
    assert pod.spec.service_account_name == "runner"


def test_null_is_the_same_as_absent() -> None:
    text = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, labels: null, creationTimestamp: null}, spec: \
{replicas: null, selector: {matchLabels: {a: b}}, template: {metadata: {creationTimestamp: null, labels: {a: b}}, \
spec: {containers: [{name: a, command: [a], env: null}]}}}}"
    loaded = load(text, "-")
    assert loaded.problems == ()
    deployment = loaded.manifests[0].resource
    assert isinstance(deployment, Deployment)
    assert deployment.spec.replicas == 1


def test_numbers_that_should_be_text_are_quoted_as_they_were_written() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {version: 1.10, on: yes}\n"
    messages = [problem.message for problem in load(text, "-").problems]
    assert 'quote it: "1.10"' in messages[0]
    assert 'quote it: "yes"' in messages[1]


def test_secrets_are_not_told() -> None:
    text = "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {password: hunter2!}}"
    loaded = load(text, "-")
    assert "hunter2" not in str(loaded.problems) + repr(loaded)


def test_the_mesh_config_is_found_in_its_config_map() -> None:
    text = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
"""
    loaded = load(text, "a.yaml")
    assert loaded.mesh_config is not None
    assert loaded.mesh_config.config.access_log_file == "/dev/stdout"
    assert isinstance(loaded.manifests[0].resource, ConfigMap)


def test_a_wrong_mesh_config_is_broken_and_not_used() -> None:
    text = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: "accessLogFlie: /dev/stdout"
"""
    loaded = load(text, "a.yaml")
    assert loaded.mesh_config is None
    assert loaded.broken == {kinds.CONFIG_MAP.ref("istio-system", "istio")}
    (problem,) = loaded.problems
    assert (problem.reason, problem.field) == ("UnknownField", "data.mesh.accessLogFlie")
    assert "accessLogFile" in problem.message


def test_a_list_reader_reads_what_load_reads() -> None:
    data = _list(_service("a"), _service("b", namespace="vm"), {"kind": "Service"}, _service("a"))
    loaded = ListReader("x").read(data)
    assert loaded.manifests == load(data.decode(), "x").manifests
    assert loaded.resource_version == "7"
    assert [p.reason for p in loaded.problems] == ["MissingField", "MissingField", "DuplicateObject"]


def test_a_list_reader_knows_the_lines() -> None:
    nested = {"kind": "List", "items": [_service("b")]}
    wrong = {**_service("c"), "spec": {"ports": [{"port": 80}], "sellector": {}}}
    text = json.dumps({"kind": "List", "items": [_service("a"), nested, _service("a"), wrong]}, indent=1)
    for before in ("", "\n\n"):
        loaded, expected = ListReader("x.json").read((before + text).encode()), load(before + text, "x.json")
        assert [m.source for m in loaded.manifests] == [m.source for m in expected.manifests]
        assert [p.source for p in loaded.problems] == [p.source for p in expected.problems]
        assert len({p.source for p in loaded.problems} | {m.source for m in loaded.manifests}) == 4


def test_a_list_reader_decodes_only_what_changed() -> None:
    reader = ListReader()
    first = reader.read(_list(_service("a"), _service("b")))
    second = reader.read(_list(_service("b"), _service("a", labels={"x": "y"}), version="8"))
    assert second.resource_version == "8"
    assert second.manifests[0] is first.manifests[1]
    assert second.manifests[1] != first.manifests[0]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[1]", b'{"kind":"List","items":3}', b'{"kind":"List","items":[{"a":"\xff"}]}']
)
def test_a_list_reader_takes_any_bytes(data: bytes) -> None:
    assert ListReader().read(data).manifests == ()


def test_a_list_reader_reads_other_kinds_and_yaml_too() -> None:
    assert _refs(ListReader().read(json.dumps(_service("a")).encode())) == ["Service default/a"]
    assert _refs(ListReader().read(SERVICE.encode())) == ["Service default/calculator"]


def test_the_package_alone_brings_no_yaml() -> None:
    code = "import sys, pilotfish.config, pilotfish.config.manifest; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_many_problems_the_first_are_shown_and_the_others_counted() -> None:
    ports = ", ".join(["{port: x}"] * 300)
    loaded = load(f"apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{ports: [{ports}]}}\n", "a.yaml")
    assert len(loaded.problems) == 101
    assert "more problems" in loaded.problems[-1].message
    assert loaded.broken
    many = load("---\nkind:Service\n" * 1_500, "a.yaml").problems
    assert len(many) == 1_001
    assert "500 more" in many[-1].message


def test_an_error_is_an_error_after_any_number_of_warnings() -> None:
    unused = ", ".join(f"{{name: c{i}, command: [a], stdin: true}}" for i in range(150))
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{unused}], hostname: No Name}}"
    loaded = load(text, "a.yaml")
    assert loaded.manifests == ()
    assert "error" in {str(problem.severity) for problem in loaded.problems}


def test_an_object_of_too_many_values_is_not_used() -> None:
    data = "".join(f"  k{index}: v\n" for index in range(60_000))
    loaded = load(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n{data}", "a.yaml")
    assert [problem.reason for problem in loaded.problems] == ["TooLarge"]
    assert loaded.broken == {kinds.CONFIG_MAP.ref("default", "a")}


NULLS = {
    "a label": ("ConfigMap", "metadata: {name: a, labels: {a: }}"),
    "a value": ("ConfigMap", "metadata: {name: a}\ndata: {key: }"),
    "an argument": ("Pod", "metadata: {name: a}\nspec: {containers: [{name: a, command: [sleep, null]}]}"),
    "everything": (
        "Pod",
        "metadata: {name: a, labels: , annotations: , ownerReferences: }\nspec: {volumes: [{name: v, emptyDir: }], "
        "initContainers: , hostname: , securityContext: , terminationGracePeriodSeconds: , containers: [{name: a, "
        "command: [b], args: , env: [{name: E, value: , valueFrom: }], envFrom: , ports: , resources: , volumeMounts: "
        ", readinessProbe: , lifecycle: , workingDir: }]}\nstatus: ",
    ),
    "a volume of no type": (
        "Pod",
        "metadata: {name: a}\nspec: {containers: [{name: a, command: [b]}], volumes: [{name: v}]}",
    ),
    "an empty selector": (
        "Service",
        "metadata: {name: a}\nspec: {selector: , ports: [{port: 1, name: , targetPort: }]}",
    ),
    "nothing in a list": ("List", "items: "),
}


@pytest.mark.parametrize(("kind", "text"), NULLS.values(), ids=NULLS)
def test_null_is_what_kubernetes_reads(kind: str, text: str) -> None:
    assert load(f"apiVersion: v1\nkind: {kind}\n{text}\n", "a.yaml").problems == ()


@pytest.mark.parametrize("struct", STRUCTS.values(), ids=lambda struct: struct.__name__)
def test_null_in_every_field_of_an_object_is_as_if_it_were_absent(struct: type[msgspec.Struct]) -> None:
    def nulls(cls: type[msgspec.Struct]) -> dict[str, object]:
        return {field.encode_name: None for field in msgspec.structs.fields(cls)}

    def problems(spec: object) -> list[tuple[str, str]]:
        kind = struct.kind  # type: ignore[attr-defined]
        head = {"apiVersion": kind.api_versions[0], "kind": kind.name, "metadata": {"name": "a"}}
        return sorted((p.field, p.reason) for p in load(json.dumps({**head, **spec}), "a.json").problems)  # type: ignore[dict-item]

    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    bare: dict[str, object] = {name: {} for name in fields if name == "spec"}
    full = {name: None for name in fields if name != "metadata"}
    spec = fields.get("spec")
    if spec is not None and isinstance(spec.type, type) and issubclass(spec.type, msgspec.Struct):
        full["spec"] = nulls(spec.type)  # type: ignore[assignment]
    assert problems(full) == problems(bare)


ENDLESS = {
    "a key": f'metadata: {{name: a, labels: {{? "{"[" * 500_000}" : b}}}}',
    "a value": f"metadata: {{name: a, labels: {{b: {'x' * 500_000}}}}}",
    "a field": f"metadata: {{name: a}}\n? {'x' * 500_000}\n: 1",
}
LONG_DURATION = """\
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [a], http: [
 {timeout: %s, route: [{destination: {host: a}}]}]}}
"""


@pytest.mark.parametrize(
    "text", [f"apiVersion: v1\nkind: ConfigMap\n{text}\n" for text in ENDLESS.values()], ids=ENDLESS
)
def test_what_is_said_of_a_long_text_is_short(text: str) -> None:
    (problem,) = load(text, "a.yaml").problems
    assert len(str(problem)) < 4_000


def test_a_long_duration_is_refused_at_once() -> None:
    (problem,) = load(LONG_DURATION % ("1" * 500_000), "a.yaml").problems
    assert (problem.field, len(problem.message) < 300) == ("spec.http[0].timeout", True)


def test_json_values_that_follow_one_another_are_objects_each_with_its_lines() -> None:
    """As `jq '.items[]'` writes them."""
    one = '{"apiVersion": "v1", "kind": "Namespace",\n "metadata": {"name": "%s"}, "%s": {}}'
    loaded = load(f"\n{one % ('a', 'spec')}\n{one % ('b', 'spc')} {one % ('c', 'spc')}\n", "-")
    assert [manifest.ref.name for manifest in loaded.manifests] == ["a"]
    assert [(p.field, p.source.line if p.source else 0) for p in loaded.problems] == [("spc", 5), ("spc", 6)]


def test_the_items_of_a_kinds_own_list_are_of_that_kind() -> None:
    """As the API server writes it, and kubectl reads it."""
    text = "apiVersion: v1\nkind: NamespaceList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n  spc: 1\n"
    loaded = load(text, "-")
    assert [str(manifest.ref) for manifest in loaded.manifests] == ["Namespace a"]
    assert [(p.field, p.source.line if p.source else 0) for p in loaded.problems] == [("spc", 6)]
