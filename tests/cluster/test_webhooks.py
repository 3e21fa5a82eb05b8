"""What a real API server makes of the webhooks: it asks, applies patches, fills in defaults, asks again, refuses."""

from __future__ import annotations

import copy
import json
import re
import urllib.request
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from pilotfish.agent.probes import parse_probers
from pilotfish.cluster.validation import describe
from pilotfish.inject.pod import Installation, inject
from pilotfish.inject.pod.previous import OVERRIDES
from pilotfish.inject.values import InjectionValues
from pilotfish.install.crds import build_crds
from tests.cluster.another_webhook import adding
from tests.cluster.api_server import ApiServer, own_api_server
from tests.cluster.asked_discovery import AskedDiscovery, asked_discovery
from tests.cluster.conftest import own_namespace
from tests.cluster.kubectl import Kubectl
from tests.inject.test_pods import NAMES, pods

VALUES = {"image": "registry.example/pilotfish:1"}
INSTALLATION = Installation(values=InjectionValues(image=VALUES["image"]))
POD = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: web, image: none}]}}"
GOOD = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec: {hosts: [shop], http: [{match: [{uri: {regex: "/[a-z]+"}}], route: [{destination: {host: shop}}]}]}
"""
BROKEN = GOOD.replace("[a-z]+", "[a-z+")


@pytest.fixture(scope="module")
def api_server(_control: None) -> Iterator[ApiServer]:
    """One of these tests' own: while discovery is away, it refuses objects."""
    with own_api_server() as server:
        yield server.api


@pytest.fixture(scope="module")
def asked(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedDiscovery]:
    with asked_discovery(api_server.kubectl, tmp_path_factory.mktemp("asked"), VALUES) as discovery:
        api_server.kubectl.apply(*build_crds({}))
        yield discovery


@pytest.fixture
def shop(asked: AskedDiscovery) -> Iterator[Kubectl]:
    """kubectl in a namespace whose pods are injected."""
    with own_namespace(asked.kubectl, **{"istio-injection": "enabled"}) as kubectl:
        yield kubectl
        asked.start()


def _pod(document: dict[str, Any], name: str, namespace: str) -> dict[str, Any]:
    """A Pod that can be created, of a template or a pod of the cases."""
    pod = copy.deepcopy(document)
    metadata = pod.setdefault("metadata", {})
    for field in ("generateName", "ownerReferences", "finalizers", "managedFields"):
        metadata.pop(field, None)
    pod["spec"].pop("serviceAccountName", None)
    return {**pod, "apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "name": name, "namespace": namespace}}


def _create(kubectl: Kubectl, made: Iterable[dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], str]:
    """Those that would be let in, by name; and what is said of the others."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(made)})
    done = kubectl.run("create", "--dry-run=server", "--output=json", "--filename=-", stdin=text, check=False)
    found: list[dict[str, Any]] = []
    rest = done.stdout.lstrip()
    while rest:
        document, end = json.JSONDecoder().raw_decode(rest)
        found += document.get("items", [document])
        rest = rest[end:].lstrip()
    return {each["metadata"]["name"]: each for each in found}, done.stderr


def _spec(pod: dict[str, Any]) -> dict[str, Any]:
    """Without the names that the API server makes up, and in an order of its own where none counts."""
    spec: dict[str, Any] = json.loads(re.sub(r"kube-api-access-\w+", "kube-api-access", json.dumps(pod["spec"])))
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        container.get("volumeMounts", []).sort(key=itemgetter("mountPath"))
        for variable in container.get("env", ()):
            if variable["name"] == "ISTIO_KUBE_APP_PROBERS":  # some say what an API server fills in, some do not
                variable["value"] = parse_probers(variable["value"])
    spec.get("volumes", []).sort(key=itemgetter("name"))
    return spec


def _names(spec: dict[str, Any]) -> dict[str, list[str]]:
    return {key: [each["name"] for each in spec.get(key) or ()] for key in ("initContainers", "containers")}


def test_every_pod_of_the_cases_is_injected_and_accepted(shop: Kubectl) -> None:
    given = {
        f"{name}-{index}": _pod(document, f"{name}-{index}", shop.namespace)
        for name in NAMES
        for index, (_, document) in enumerate(pods(name))
    }
    mine = {name: inject(pod, INSTALLATION) for name, pod in given.items()}
    wrong = mine.pop("wrong-annotations-0")
    made, said = _create(shop, given.values())
    assert made.keys() == mine.keys(), said
    assert all(describe(problem) in said for problem in wrong.problems)
    for name, pod in made.items():
        assert _names(pod["spec"]) == _names(dict(mine[name].pod)["spec"]), name
    # What was injected before is taken as it is: by files, or by this webhook, with all that the API server fills in.
    by_files, said = _create(shop, (dict(each.pod) for each in mine.values()))
    again, _ = _create(shop, made.values())
    for name, pod in made.items():
        assert _spec(again[name]) == _spec(pod), name
        if OVERRIDES not in pod["metadata"].get("annotations", {}):  # there it fills in more than was said
            assert _spec(by_files[name]) == _spec(pod), name


def test_what_another_adds_is_seen_when_the_api_server_asks_again(shop: Kubectl, tmp_path: Path) -> None:
    late = {"name": "late", "image": "none", "readinessProbe": {"tcpSocket": {"port": 99}}}
    with adding(late, shop, tmp_path):
        shop.apply(POD)
        spec = shop.get("pod/web")["spec"]
    added = next(each for each in spec["containers"] if each["name"] == "late")
    assert added["readinessProbe"]["httpGet"]["path"] == "/app-health/late/readyz"
    proxy = next(each for each in spec["initContainers"] if each["name"] == "istio-proxy")
    told = {each["name"]: each.get("value") for each in proxy["env"]}
    assert told["ISTIO_META_APP_CONTAINERS"] == "web,late"
    assert "/app-health/late/readyz" in told["ISTIO_KUBE_APP_PROBERS"]


def test_an_object_is_refused_in_the_words_of_validate(shop: Kubectl) -> None:
    said = shop.refused("apply", "--filename=-", stdin=BROKEN)
    where = f"VirtualService {shop.namespace}/shop spec.http[0].match[0].uri.regex"
    assert f'admission webhook "validation.istio.io" denied the request: error: {where}' in said
    assert said.rstrip().endswith("[InvalidValue]")


def test_warnings_come_back_with_what_is_stored(shop: Kubectl) -> None:
    pod = POD.replace("name: web}", "name: web, annotations: {sidecar.istio.io/proxyCpu: '1'}}", 1)
    done = shop.run("apply", "--filename=-", stdin=pod)
    assert "Warning: warning: Pod" in done.stderr
    assert "did you mean sidecar.istio.io/proxyCPU?" in done.stderr


def test_what_is_stored_can_be_changed_in_all_but_its_spec(asked: AskedDiscovery, shop: Kubectl) -> None:
    change = ("patch", "virtualservice/shop", "--type=merge")
    shop.apply(GOOD)
    shop(*change, '--patch={"metadata":{"finalizers":["example.com/held"]}}')
    asked.stop()
    said = shop.refused(*change, '--patch={"spec":{"hosts":["else"]}}')
    assert 'failed calling webhook "validation.istio.io"' in said
    shop("label", "virtualservice/shop", "team=a")
    shop("delete", "virtualservice/shop", "--wait=false")
    shop(*change, '--patch={"metadata":{"finalizers":null}}')
    assert shop.items("virtualservices") == []


def test_no_pod_comes_to_be_without_its_proxy_while_nobody_answers(asked: AskedDiscovery, shop: Kubectl) -> None:
    asked.stop()
    said = shop.refused("apply", "--filename=-", stdin=POD)
    assert 'failed calling webhook "namespace.sidecar-injector.istio.io"' in said
    shop.apply(POD.replace("name: web}", "name: bare, labels: {sidecar.istio.io/inject: 'false'}}", 1))
    asked.start()
    shop.apply(POD)
    assert _names(shop.get("pod/web")["spec"])["initContainers"] == ["istio-init", "istio-proxy"]


def test_admissions_are_counted(asked: AskedDiscovery, shop: Kubectl) -> None:
    asked.stop()
    asked.start()
    shop.apply(POD)
    shop.refused("apply", "--filename=-", stdin=BROKEN)
    with urllib.request.urlopen(f"http://127.0.0.1:{asked.monitoring}/metrics") as answer:
        text = answer.read().decode()
    # An API server asks again if its own account was mounted meanwhile.
    assert re.search(r"^sidecar_injection_success_total [12]\.0$", text, re.MULTILINE)
    assert re.search(r"^sidecar_injection_time_seconds_count [12]\.0$", text, re.MULTILINE)
    assert "sidecar_injection_skip_total 0.0" in text
    kind = 'group="networking.istio.io",resource="VirtualService",version="v1"'
    assert f"galley_validation_failed_total{{{kind}}} 1.0" in text


def test_discovery_that_is_made_anew_is_known_by_the_same_roots(asked: AskedDiscovery, shop: Kubectl) -> None:
    before = asked.roots
    asked.stop()
    asked.start()
    assert asked.roots == before
    shop.apply(POD)
