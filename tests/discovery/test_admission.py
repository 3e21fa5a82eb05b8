"""Who is served as whom, and who may have which certificate."""

from __future__ import annotations

import pytest

from pilotfish.config import load
from pilotfish.config.manifest import Manifest
from pilotfish.discovery.admission import Caller, Door, Reason
from pilotfish.identity.tokens import Claims
from pilotfish.model import Proxy
from pilotfish.model.identity import Identity
from pilotfish.model.proxy import ProxyType

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: vm, uid: u-1}
spec: {serviceAccountName: web, containers: [{name: app, command: [sleep]}]}
status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}
"""
(POD,) = load(PODS, "f", "vm").manifests
WEB = Proxy.of_pod("web-0", "vm", ("10.0.0.1", "fd00::1"))
ME = Identity("cluster.local", "vm", "web")
AT, AT6, ELSEWHERE = "ipv4:10.0.0.1:9", "ipv6:%5Bfd00::1%5D:9", "ipv4:10.0.0.2:9"
PLAIN, PROVEN = Caller(AT), Caller(AT, secure=True, identity=ME)


def proven(identity: Identity | None = ME, peer: str = AT, pod: str = "") -> Caller:
    return Caller(peer, secure=True, identity=identity, pod=pod)


@pytest.mark.parametrize(
    ("only_pods", "caller", "pod", "reason", "known"),
    [
        # In plaintext, a proxy's word is taken where pods are not known, and its address where they are.
        (False, PLAIN, None, None, False),
        (False, PLAIN, POD, None, True),
        (False, Caller(ELSEWHERE), POD, None, False),
        (True, PLAIN, None, Reason.UNKNOWN, False),
        (True, PLAIN, POD, None, True),
        (True, Caller(AT6), POD, None, True),
        (True, Caller(ELSEWHERE), POD, Reason.ADDRESS, False),
        # Over TLS it proves who it is, and that is enough where pods are not known.
        (False, PROVEN, None, None, True),
        (False, proven(peer=ELSEWHERE), None, None, True),
        (False, proven(None), None, Reason.IDENTITY, False),
        (False, proven(Identity("cluster.local", "prod", "web")), None, Reason.IDENTITY, False),
        (False, proven(Identity("other", "vm", "web")), None, Reason.IDENTITY, True),
        (False, proven(Identity("old", "vm", "web")), None, None, True),
        (False, proven(Identity("cluster.local", "vm", "bank")), None, None, True),
        (False, proven(Identity("cluster.local", "vm", "bank")), POD, Reason.IDENTITY, False),
        (False, proven(pod="web-0"), POD, None, True),
        (False, proven(pod="web-1"), POD, Reason.IDENTITY, False),
        (True, PROVEN, POD, None, True),
        (True, proven(peer=ELSEWHERE), POD, Reason.ADDRESS, False),
        (True, proven(None), POD, Reason.IDENTITY, False),
        (True, PROVEN, None, Reason.UNKNOWN, False),
    ],
)
def test_who_is_served(
    only_pods: bool, caller: Caller, pod: Manifest | None, reason: Reason | None, known: bool
) -> None:
    door = Door(only_pods=only_pods)
    door.trust_domains = ("cluster.local", "old")
    refusal = door.admit(WEB, caller, pod, 0.0)
    assert (refusal.reason if refusal is not None else None) is reason
    assert door.is_known(WEB, caller, pod) is known


def test_metadata_names_no_other_namespace_than_the_node_id() -> None:
    liar = Proxy.parse("sidecar~10.0.0.1~web-0.prod~prod.svc.cluster.local", {"NAMESPACE": "vm"})
    assert liar is not None
    refusal = Door().admit(liar, PROVEN, None, 0.0)
    assert refusal is not None
    assert refusal.reason is Reason.IDENTITY


@pytest.mark.parametrize(
    ("only_pods", "claims", "host", "pod", "reason"),
    [
        (True, Claims("vm", "web", "web-0", "u-1", ("10.0.0.1",)), "10.0.0.1", POD, None),
        (True, Claims("vm", "web", "web-0", "u-1", ("10.0.0.1", "fd00::0001")), "fd00::1", POD, None),
        (True, Claims("vm", "web", "web-0", "", ()), "10.0.0.1", POD, None),
        (True, Claims("vm", "web", "web-0", "u-1", ("10.0.0.1",)), "10.0.0.2", POD, Reason.ADDRESS),
        (True, Claims("vm", "web", "web-0", "u-1", ("10.0.0.2",)), "10.0.0.2", POD, Reason.ADDRESS),
        (True, Claims("vm", "web", "web-0", "u-1"), "10.0.0.2", POD, Reason.ADDRESS),
        (True, Claims("vm", "web", "web-0", "u-2"), "10.0.0.1", POD, Reason.IDENTITY),
        (True, Claims("vm", "bank", "web-0", "u-1"), "10.0.0.1", POD, Reason.IDENTITY),
        (True, Claims("vm", "web", "web-0", "u-1"), "10.0.0.1", None, Reason.UNKNOWN),
        (True, Claims("vm", "web"), "10.0.0.1", None, Reason.UNKNOWN),
        (False, Claims("vm", "web"), "10.0.0.1", None, None),
        (False, Claims("vm", "web", "web-0"), "192.0.2.1", None, None),
        (False, Claims("vm", "bank", "web-0"), "10.0.0.1", POD, Reason.IDENTITY),
        (True, Claims("", "", is_operator=True), "192.0.2.1", None, None),
    ],
)
def test_whose_token_is_taken(
    only_pods: bool, claims: Claims, host: str, pod: Manifest | None, reason: Reason | None
) -> None:
    refusal = Door(only_pods=only_pods).entitle(claims, host, pod)
    assert (refusal.reason if refusal is not None else None) is reason


OWN, SHARED, OTHERS = "10.0.0.1", "192.0.2.1", "10.0.0.2"


@pytest.mark.parametrize(
    ("claims", "host", "pod", "reason"),
    [
        (Claims("vm", "web", "web-0", "u-1"), OWN, POD, None),
        # Translated on its way, or in the node's network: no pod has this address for itself.
        (Claims("vm", "web", "web-0", "u-1"), SHARED, POD, None),
        # A token that another pod has got hold of.
        (Claims("vm", "web", "web-0", "u-1"), OTHERS, POD, Reason.ADDRESS),
        # The pod has been replaced by one of the same name, or is gone, or has not come yet.
        (Claims("vm", "web", "web-0", "u-0"), OWN, POD, Reason.IDENTITY),
        (Claims("vm", "web", "web-0", "u-1"), OWN, None, Reason.UNKNOWN),
        (Claims("vm", "bank", "web-0", "u-1"), OWN, POD, Reason.IDENTITY),
        # A token that is bound to no pod: of a workload outside of the cluster.
        (Claims("vm", "web"), SHARED, None, None),
        (Claims("vm", "web"), OTHERS, None, Reason.UNKNOWN),
    ],
)
def test_whose_token_is_taken_in_a_cluster(
    claims: Claims, host: str, pod: Manifest | None, reason: Reason | None
) -> None:
    door = Door(in_cluster=True)
    door.is_of_a_pod = {OWN, OTHERS}.__contains__
    refusal = door.entitle(claims, host, pod)
    assert (refusal.reason if refusal is not None else None) is reason


@pytest.mark.parametrize(
    ("host", "pod", "reason"),
    [
        (OWN, POD, None),
        (SHARED, POD, None),
        (OTHERS, POD, Reason.ADDRESS),
        (SHARED, None, None),
        (OTHERS, None, Reason.UNKNOWN),
    ],
)
def test_who_is_served_in_a_cluster(host: str, pod: Manifest | None, reason: Reason | None) -> None:
    door = Door(in_cluster=True)
    door.is_of_a_pod = {OWN, OTHERS}.__contains__
    refusal = door.admit(WEB, proven(peer=f"ipv4:{host}:9"), pod, 0.0)
    assert (refusal.reason if refusal is not None else None) is reason


BOX = Proxy.of_pod("box", "istio-system", ("10.0.0.254",), type=ProxyType.NODE)
BOXS = Identity("cluster.local", "istio-system", "pilotfish-node")
THERE = "ipv4:10.0.0.254:9"


@pytest.mark.parametrize(
    ("machine", "caller", "reason"),
    [
        ("10.0.0.254", proven(BOXS, THERE), None),
        # A pod that runs as this account has its certificate, and not its address.
        ("10.0.0.254", proven(BOXS, AT), Reason.ADDRESS),
        ("10.0.0.254", proven(ME, THERE), Reason.IDENTITY),
        ("10.0.0.254", proven(Identity("cluster.local", "vm", "pilotfish-node"), THERE), Reason.IDENTITY),
        ("10.0.0.254", proven(None, THERE), Reason.IDENTITY),
        ("10.0.0.254", Caller(THERE), Reason.IDENTITY),
        # Where no machine is known, as in a cluster.
        ("", proven(BOXS, THERE), Reason.ADDRESS),
    ],
)
def test_a_machines_proxy_is_served_on_its_machine_and_as_itself(
    machine: str, caller: Caller, reason: Reason | None
) -> None:
    door = Door(only_pods=bool(machine), in_cluster=not machine, machine=machine)
    refusal = door.admit(BOX, caller, None, 0.0)
    assert (refusal.reason if refusal is not None else None) is reason
    assert door.is_known(BOX, caller, None) is (reason is None)


@pytest.mark.parametrize(
    ("claims", "host", "reason"),
    [
        (Claims("istio-system", "pilotfish-node", addresses=("10.0.0.254",), machine="box"), "10.0.0.254", None),
        (Claims("istio-system", "pilotfish-node", machine="box"), "10.0.0.1", Reason.ADDRESS),
        (Claims("istio-system", "pilotfish-node"), "10.0.0.254", Reason.UNKNOWN),
    ],
)
def test_the_token_of_a_machine(claims: Claims, host: str, reason: Reason | None) -> None:
    refusal = Door(only_pods=True, machine="10.0.0.254").entitle(claims, host, None)
    assert (refusal.reason if refusal is not None else None) is reason
