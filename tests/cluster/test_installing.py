"""Installing into a real API server, where nobody acts on objects: what is stored, what is refused, what is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pilotfish.cli.app import pilotfish
from pilotfish.install.names import AUTHORITY, OURS, Names
from pilotfish.model.kinds import KINDS, NODE
from pilotfish.model.wellknown import ROOT_CONFIG_MAP
from tests.cluster.api_server import OwnApiServer
from tests.cluster.conftest import MakeApiServer
from tests.cluster.kubectl import Kubectl, Object
from tests.cluster.posting import Poster
from tests.install.helm import PROGRAM, helm

pytestmark = pytest.mark.long

ACCOUNT = "system:serviceaccount:istio-system:istiod"
_OF_THE_CLUSTER = {"Event", "Lease", "APIService"}
"""What comes and goes by itself, the last with definitions."""


_BARE = ("--no-wait", "--set", "crds=false")


class Cluster:
    """An empty one, and the commands about it."""

    def __init__(self, server: OwnApiServer) -> None:
        self.server = server.api
        self.kubectl: Kubectl = server.api.kubectl
        self.poster = Poster(server.api)

    def run(self, command: str, *arguments: str, user: Path | None = None) -> Result:
        words = (*command.split(), *arguments, "--kubeconfig", str(user or self.server.kubeconfig))
        return CliRunner().invoke(pilotfish, words)

    def do(self, command: str, *arguments: str) -> str:
        result = self.run(command, *arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def everything(self) -> set[str]:
        """That somebody made."""
        return {each for each in self.poster.everything() if each.partition(" ")[0] not in _OF_THE_CLUSTER}

    def may(self, verb: str, what: str, *where: str) -> bool:
        """Whether discovery may."""
        asked = ("auth", "can-i", verb, what, *where, f"--as={ACCOUNT}")
        return self.kubectl.run(*asked, check=False).stdout.strip() == "yes"


@pytest.fixture
def cluster(make_api_server: MakeApiServer) -> Iterator[Cluster]:
    with make_api_server() as server:
        server.api.kubectl.wait("create", "serviceaccount/default")
        cluster = Cluster(server)
        try:
            yield cluster
        finally:
            cluster.poster.close()


def _config_map(name: str, namespace: str, **labels: str) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}


def test_what_is_installed_stays_the_same_when_it_is_installed_again_and_uninstall_leaves_nothing(
    cluster: Cluster,
) -> None:
    before = cluster.everything()
    whole = ("--no-wait", "--set", "cni.enabled=true", "--set", "gateway.enabled=true")
    dry = cluster.do("install", *whole, "--dry-run")
    assert cluster.everything() == before
    assert "deployment.apps/pilotfish in namespace istio-system created (dry run)" in dry

    said = cluster.do("install", *whole)
    assert all(line.endswith(" created") for line in said.splitlines()), said
    again = cluster.do("install", *whole)
    assert all(line.endswith(" unchanged") for line in again.splitlines()), again

    # What discovery writes as it runs.
    cluster.kubectl.apply(_config_map(ROOT_CONFIG_MAP, "default", **OURS))
    cluster.kubectl.apply(_config_map(ROOT_CONFIG_MAP, "istio-system", **OURS))
    secret = {"name": AUTHORITY, "namespace": "istio-system", "labels": OURS}
    cluster.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": secret})
    own = {"name": Names().last_good, "namespace": "istio-system", "labels": Names().labels}
    cluster.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": own})
    upgraded = cluster.do("upgrade", "--no-wait")
    assert "secret" not in upgraded, "it is discovery's"
    cluster.do("tag set prod", "--revision", "default")

    kept = cluster.do("uninstall")
    assert "customresourcedefinition" not in kept
    cluster.kubectl.wait("delete", "namespace/istio-system")
    left = cluster.everything() - before
    assert {name.partition(" ")[0] for name in left} == {"CustomResourceDefinition"}
    assert "customresourcedefinition.apiextensions.k8s.io/virtualservices.networking.istio.io deleted" in cluster.do(
        "uninstall --purge"
    )
    cluster.kubectl.wait("delete", "crd", "--all")
    assert cluster.everything() == before


def test_definitions_go_only_with_their_objects_confirmed_and_a_namespace_only_if_it_is_empty(cluster: Cluster) -> None:
    cluster.do("install", "--no-wait")
    cluster.kubectl.apply(_config_map("mine", "istio-system"))
    entry = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "out"}}
    cluster.kubectl("delete", "validatingwebhookconfiguration", "pilotfish")
    cluster.kubectl.apply(entry | {"spec": {"hosts": ["a.example.com"]}})

    refused = cluster.run("uninstall --purge")
    assert refused.exit_code == 1
    assert "1 ServiceEntry would be lost, so nothing was done; give --yes" in refused.stderr
    assert cluster.kubectl("get", "deployment", "pilotfish", "--namespace", "istio-system")

    said = cluster.do("uninstall --purge --yes")
    assert "namespace istio-system stays: it holds ConfigMap mine" in said
    assert cluster.kubectl("get", "configmap", "mine", "--namespace", "istio-system")


def test_what_is_somebody_elses_is_named_and_not_touched(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "istio-system")
    cluster.kubectl.apply(_config_map("istio", "istio-system", **{"operator.istio.io/component": "Pilot"}))
    service = {"name": "istiod", "namespace": "istio-system", "labels": {"app.kubernetes.io/managed-by": "Flux"}}
    cluster.kubectl.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": service, "spec": {"ports": [{"port": 1}]}}
    )
    before = cluster.everything()

    refused = cluster.run("install", "--no-wait")
    assert refused.exit_code == 1
    assert "ConfigMap istio in namespace istio-system is Istio's, and is not taken over" in refused.stderr
    assert "Service istiod in namespace istio-system is Flux's, and is not taken over" in refused.stderr
    assert "--revision NAME" in refused.stderr
    assert cluster.everything() == before
    found = cluster.run("check --pre")
    assert found.exit_code == 1
    assert "ConfigMap istio-system/istio: it is Istio's, and is not taken over" in found.stdout

    cluster.do("install", "--no-wait", "--revision", "fish")
    assert cluster.kubectl.within("istio-system").get("configmap", "istio")["data"] == {"a": "b"}
    cluster.do("uninstall")
    assert cluster.everything() - before <= {name for name in cluster.everything() if name.startswith("Custom")}
    assert before <= cluster.everything()


def test_a_missing_permission_is_named_before_anything_is_done(cluster: Cluster) -> None:
    nobody, before = cluster.server.user("ann"), cluster.everything()
    refused = cluster.run("install", "--no-wait", user=nobody)
    assert refused.exit_code == 1
    assert (
        "installing needs to create customresourcedefinitions.apiextensions.k8s.io in the whole cluster"
        in refused.stderr
    )
    assert 'apiGroups: ["apps"], resources: ["deployments"], verbs: ["patch"]' in refused.stderr
    assert cluster.everything() == before
    assert "uninstalling needs to list" in cluster.run("uninstall", user=nobody).stderr
    assert cluster.run("check --pre", user=nobody).exit_code == 1


def test_discovery_may_read_what_it_reads_and_write_what_it_writes_and_nothing_else(cluster: Cluster) -> None:
    cluster.do("install", "--no-wait")
    cluster.kubectl("delete", "validatingwebhookconfiguration", "pilotfish")
    for kind in (*(kind for kind in KINDS if kind.discovery), NODE):
        for verb in ("get", "list", "watch"):
            assert cluster.may(verb, kind.qualified_plural, "--all-namespaces"), (verb, kind)
    discovery = ("apply", "--server-side", "--filename", "-", f"--as={ACCOUNT}", "--field-manager=discovery")
    own = cluster.kubectl.within("default")
    # A name bounds what may be created, as objects are applied.
    own(*discovery, stdin=_text(_config_map(ROOT_CONFIG_MAP, "default", **OURS)))
    assert "forbidden" in own.refused(*discovery, stdin=_text(_config_map("other", "default")))
    for name, may in ((AUTHORITY, True), ("other", False)):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "istio-system"}}
        done = own.run(*discovery, stdin=_text(secret), check=False)
        assert (done.returncode == 0) is may, done.stderr
    for verb, what, where, may in (
        ("create", "tokenreviews.authentication.k8s.io", (), True),
        ("create", "events", ("--namespace", "default"), True),
        ("create", "leases.coordination.k8s.io", ("--namespace", "istio-system"), True),
        ("create", "leases.coordination.k8s.io", ("--namespace", "default"), False),
        ("update", "leases.coordination.k8s.io/pilotfish-leader", ("--namespace", "istio-system"), True),
        ("update", "leases.coordination.k8s.io/other", ("--namespace", "istio-system"), False),
        ("patch", "mutatingwebhookconfigurations/pilotfish", (), True),
        ("patch", "mutatingwebhookconfigurations/other", (), False),
        ("patch", "virtualservices.networking.istio.io", ("--subresource", "status", "-A"), True),
        ("patch", "virtualservices.networking.istio.io", ("-A",), False),
        ("delete", "pods", ("-A",), False),
        ("create", "pods", ("-A",), False),
        ("update", "secrets", ("-A",), False),
        ("delete", "secrets", ("-A",), False),
    ):
        assert cluster.may(verb, what, *where) is may, (verb, what, where)


def test_an_upgrade_keeps_the_values_of_before_and_removes_what_is_no_longer_wanted(cluster: Cluster) -> None:
    assert "is installed; use `pilotfish install`" in cluster.run("upgrade", "--no-wait").stderr
    cluster.do("install", *_BARE, "--set", "cni.enabled=true", "--set", "hub=registry.example.com")
    own = cluster.kubectl.within("istio-system")
    own("scale", "deployment/pilotfish", "--replicas=4")

    said = cluster.do("upgrade", "--no-wait", "--set", "cni.enabled=false", "--set", "tag=2")
    assert "daemonset.apps/pilotfish-cni in namespace istio-system deleted" in said
    plane = own.get("deployment", "pilotfish")["spec"]
    assert plane["template"]["spec"]["containers"][0]["image"] == "registry.example.com/pilotfish:2"
    assert plane["replicas"] == 4
    assert "pilotfish-cni" not in "".join(cluster.everything())
    cluster.do("upgrade", *_BARE, "--reset-values")
    assert own.get("deployment", "pilotfish")["spec"]["template"]["spec"]["containers"][0]["image"].startswith(
        "pilotfish:"
    )


def test_revisions_stand_side_by_side_and_a_tag_moves_from_one_to_the_other(cluster: Cluster) -> None:
    for revision in ("a", "b"):
        cluster.do("install", *_BARE, "--revision", revision)
    assert "no control plane of revision c is installed" in cluster.run("tag set prod --revision c").stderr
    cluster.do("tag set prod --revision a")
    cluster.kubectl("label", "namespace", "default", "istio.io/rev=prod")
    assert ["prod", "a", "default"] in [line.split() for line in cluster.do("tag list").splitlines()]
    assert "tag prod means revision a; give --overwrite" in cluster.run("tag set prod --revision b").stderr
    cluster.do("tag set prod --revision b --overwrite")
    webhooks = cluster.kubectl.get("mutatingwebhookconfiguration", "pilotfish-tag-prod")["webhooks"]
    assert {each["clientConfig"]["service"]["name"] for each in webhooks} == {"istiod-b"}

    # A pod of the other one is nothing to wait for, whatever it is called.
    labels = {"app": "istiod", "istio.io/rev": "b", "sidecar.istio.io/inject": "false", **OURS}
    pod = {"name": "pilotfish-a-b", "namespace": "istio-system", "labels": labels}
    cluster.kubectl.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": pod, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    )
    cluster.do("uninstall --revision a", "--timeout", "1h")
    cluster.kubectl("delete", "pod", "pilotfish-a-b", "--namespace", "istio-system", "--force")
    assert "configmap/istio-b" in cluster.kubectl("get", "configmap", "-n", "istio-system", "-o", "name")
    left = {each for each in cluster.everything() if each.endswith("-a")}
    assert left == set()
    assert "namespaces default name tag prod" in cluster.run("tag remove prod").stderr
    cluster.do("tag remove prod --yes")
    assert "nothing of revision a is installed; there is b" in cluster.run("uninstall --revision a").stderr
    cluster.do("uninstall --revision b")
    cluster.kubectl.wait("delete", "namespace/istio-system")


def _text(source: Object) -> str:
    return json.dumps(source)


@pytest.mark.skipif(not PROGRAM, reason="helm is not here (tests/install/helm.py says how to get it)")
def test_what_helm_has_installed_is_helms_to_change(cluster: Cluster, tmp_path: Path) -> None:
    chart, before = tmp_path / "chart", cluster.everything()
    assert CliRunner().invoke(pilotfish, ["manifest", "--helm", str(chart)]).exit_code == 0
    where = ("--kubeconfig", cluster.server.kubeconfig, "--namespace", "istio-system")
    helm("install", "fish", chart, "--create-namespace", "--set", "crds=false", *where)
    assert "Deployment istio-system/pilotfish" in cluster.everything()

    for command in ("install", "upgrade"):
        refused = cluster.run(command, *_BARE)
        assert refused.exit_code == 1
        assert "Helm installed it, so nothing was done; upgrade it with `helm upgrade`" in refused.stderr
    assert "remove it with `helm uninstall fish`" in cluster.run("uninstall").stderr
    helm("upgrade", "fish", chart, "--set", "crds=false", "--set", "cni.enabled=true", *where)
    helm("uninstall", "fish", "--wait", *where)
    assert cluster.everything() - before == {"Namespace /istio-system", *_in(cluster, "istio-system")}


def _in(cluster: Cluster, namespace: str) -> set[str]:
    """What each namespace has."""
    return {each for each in cluster.everything() if f" {namespace}/" in each and each.split("/")[1] in _OF_NAMESPACES}


_OF_NAMESPACES = {"default", "kube-root-ca.crt"}
