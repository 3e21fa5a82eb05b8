"""Who is sent a Secret and who is not, whatever they ask for; and that nothing that is told shows what it holds."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable

from pilotfish.ads import DeltaRequest, Node, Refused, Send
from pilotfish.config import load
from pilotfish.config.desired import DesiredState
from pilotfish.discovery import debug
from pilotfish.discovery.admission import Caller
from pilotfish.discovery.dump import config_dump
from pilotfish.discovery.effects import Effect
from pilotfish.discovery.findings import findings
from pilotfish.discovery.plane import GATHERING, ControlPlane
from pilotfish.discovery.session import ProxySession
from pilotfish.discovery.standing import standings
from pilotfish.envoy.types import CLUSTER, SECRET
from pilotfish.model import Proxy
from pilotfish.model.kinds import SECRET as SECRET_KIND
from pilotfish.model.proxy import ProxyType
from tests.certificates import issue, secret
from tests.manifests import service

CA = issue("ca")
ME = issue("me", CA)
KEYS = (ME.key.splitlines()[1], b64encode(ME.key.encode()).decode()[40:80])
"""How a private key would be known again."""
NAMES = ("kubernetes://me", "kubernetes://me-cacert", "kubernetes://other", "kubernetes-gateway://vm/me", "me", "*")


def pod(name: str, ip: str, namespace: str = "vm", app: str = "client") -> str:
    spec = {"containers": [{"name": "app", "command": ["x"]}]}
    metadata = {"name": name, "namespace": namespace, "labels": {"app": app}}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"podIP": ip}}
    return json.dumps(document) + "\n---\n"


def rule(name: str, credential: str, selector: str = "workloadSelector: {matchLabels: {app: client}}, ") -> str:
    tls = f"{{mode: MUTUAL, credentialName: {credential}}}"
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: vm}}
spec: {{host: {name}.vm.svc.cluster.local, {selector}trafficPolicy: {{tls: {tls}}}}}
---
"""


PAIR = {"tls_crt": ME.pem, "tls_key": ME.key, "ca_crt": CA.pem}
PODS = (
    pod("client-0", "10.0.0.1") + pod("other-0", "10.0.0.2", app="other") + pod("far-0", "10.0.0.3", "far")
    + pod("gateway-0", "10.0.0.4", app="gateway") + pod("gateway-0", "10.0.0.5", "far", app="gateway")
)  # fmt: skip
MESH = (
    PODS + secret("me", **PAIR) + secret("other", **PAIR)
    + "".join(service(name, f"10.96.0.{i}", "10.0.0.9") for i, name in enumerate(("web", "all"), 7)) + "\n---\n"
    + rule("web", "me") + rule("all", "me", "")
)  # fmt: skip


def desired(text: str) -> DesiredState:
    return DesiredState(manifests={m.ref: m for m in load(text, "mesh.yaml").manifests})


def plane(text: str = MESH) -> ControlPlane:
    made = ControlPlane()
    made.change(desired(text), 0.0)
    return made


def join(
    plane: ControlPlane, name: str, ip: str, namespace: str = "vm", app: str = "client",
    type: ProxyType = ProxyType.SIDECAR, peer: str = "",
) -> ProxySession:  # fmt: skip
    proxy = Proxy.of_pod(name, namespace, (ip,), labels={"app": app}, type=type)
    return plane.join(Node(proxy.id), proxy, delta=True, caller=Caller(f"ipv4:{peer or ip}:1"), at=0.0, now=0.0)


def ask(plane: ControlPlane, session: ProxySession) -> bytes:
    """All that comes of asking for everything there may be."""
    sent = b""
    for request in (DeltaRequest(CLUSTER), DeltaRequest(SECRET, subscribe=NAMES)):
        effects: Iterable[Effect] = plane.receive(session, request, 0.0)
        sent += b"".join(effect.payload.encode() for effect in effects if isinstance(effect, Send))
    return sent


def has_key(sent: bytes) -> bool:
    return any(key.encode() in sent for key in KEYS)


def is_served(plane: ControlPlane, session: ProxySession, host: str) -> bool:
    """Its cluster has endpoints, and speaks TLS with the credential."""
    assert session.stream.resources is not None
    cluster = session.stream.resources.get(CLUSTER, f"outbound|8000||{host}.vm.svc.cluster.local")
    return cluster is not None and b"kubernetes://me" in cluster.body


def test_the_workloads_that_a_rule_selects_have_its_secret_and_no_others() -> None:
    mesh = plane()
    client = join(mesh, "client-0", "10.0.0.1")
    assert has_key(ask(mesh, client))
    assert is_served(mesh, client, "web")
    assert not is_served(mesh, client, "all"), "a rule for everyone gives sidecars none"
    assert not has_key(ask(mesh, join(mesh, "other-0", "10.0.0.2", app="other")))
    assert not has_key(ask(mesh, join(mesh, "far-0", "10.0.0.3", "far")))


def test_a_gateway_has_the_secrets_of_its_own_namespace() -> None:
    mesh = plane()
    near = join(mesh, "gateway-0", "10.0.0.4", app="gateway", type=ProxyType.ROUTER)
    far = join(mesh, "gateway-0", "10.0.0.5", "far", "gateway", ProxyType.ROUTER)
    assert has_key(ask(mesh, near))
    assert is_served(mesh, near, "all")
    assert not has_key(ask(mesh, far))
    assert not is_served(mesh, far, "all"), "its own namespace has no such Secret"
    elsewhere = plane(MESH + secret("me", "far", cert=ME.pem, key=ME.key, cacert=CA.pem))
    assert has_key(ask(elsewhere, join(elsewhere, "gateway-0", "10.0.0.5", "far", "gateway", ProxyType.ROUTER)))


def test_who_is_not_the_pod_that_it_says_it_is_has_none_and_sends_nothing_in_the_clear() -> None:
    mesh = plane()
    liar = join(mesh, "client-0", "10.0.0.1", peer="10.0.0.2")
    unknown = join(mesh, "nobody-0", "10.0.0.8")
    for session in (liar, unknown):
        assert not has_key(ask(mesh, session))
        assert session.stream.resources is not None
        cluster = session.stream.resources.get(CLUSTER, "outbound|8000||web.vm.svc.cluster.local")
        assert cluster is not None
        assert (CLUSTER, cluster.references) == (CLUSTER, frozenset()), "it leads nowhere"
    mesh.change(desired(MESH + pod("nobody-0", "10.0.0.8")), 0.0)
    while mesh.roster.is_behind:
        mesh.push(0.0)
    assert is_served(mesh, unknown, "web"), "its pod has become known"
    assert not is_served(mesh, liar, "web")


def test_nothing_that_is_told_shows_a_key() -> None:
    mesh = plane()
    session = join(mesh, "client-0", "10.0.0.1")
    ask(mesh, session)
    resource = next(iter(mesh.mesh.resources(session.proxy).resources(SECRET)))
    refused = mesh.receive(session, DeltaRequest(SECRET, session.stream.watches[SECRET].last_nonce, "no"), 1.0)
    told = (
        debug.syncz(mesh), debug.adsz(mesh), debug.registryz(mesh), debug.configz(mesh), debug.endpointz(mesh),
        config_dump(mesh.mesh.resources(session.proxy)), findings(mesh, 1e11), standings(mesh), refused, session.stream,
        mesh.mesh.resources(session.proxy), mesh.mesh.desired, mesh.roster.sessions, mesh.quarantine.rejected, resource,
        tuple(mesh.mesh.graph), [mesh.mesh.graph.get(query, *args) for query, args in tuple(mesh.mesh.graph)],
    )  # fmt: skip
    for each in told:
        assert not has_key(repr(each).encode()), type(each)
        assert not has_key(json.dumps(each, default=str).encode()), type(each)


def test_a_refused_secret_is_named_and_used_no_more() -> None:
    mesh = plane()
    session = join(mesh, "client-0", "10.0.0.1")
    for request in (DeltaRequest(CLUSTER), DeltaRequest(SECRET, subscribe=("kubernetes://me",))):
        mesh.receive(session, request, 0.0)
    nonce = session.stream.watches[SECRET].last_nonce
    effects = mesh.receive(session, DeltaRequest(SECRET, nonce, "kubernetes://me: Failed to load"), GATHERING)
    assert any(isinstance(effect, Refused) for effect in effects)
    while mesh.roster.is_behind:
        mesh.push(GATHERING)
    assert [ref.kind for ref in mesh.quarantine.rejected] == [SECRET_KIND]
    found = [finding.problem for finding in findings(mesh) if finding.problem.reason == "RefusedByEnvoy"]
    assert [(str(problem.ref), "SDS kubernetes://me" in problem.message) for problem in found] == [
        ("Secret vm/me", True)
    ]
    assert not is_served(mesh, session, "web")


def test_what_lacks_or_has_expired_is_said_where_it_is_referred_to() -> None:
    def said(text: str, now: float = 0.0) -> list[tuple[str, str, str]]:
        problems = (finding.problem for finding in findings(plane(text), now))
        wanted = ("UnknownSecret", "UnusableSecret", "ExpiredCertificate")
        return [(p.reason, str(p.ref), p.field) for p in problems if p.reason in wanted]

    where = ("DestinationRule vm/web", "spec.trafficPolicy.tls.credentialName")
    bare = PODS + service("web", "10.96.0.7", "10.0.0.9") + "\n---\n" + rule("web", "me")
    old = issue("old", CA, days=-1)
    expired = bare + secret("me", tls_crt=old.pem, tls_key=old.key, ca_crt=CA.pem)
    now = ME.certificate.not_valid_before_utc.timestamp() + 20 * 86400
    assert said(bare) == [("UnknownSecret", *where)]
    assert said(bare + secret("me", tls_crt=ME.pem, tls_key=CA.key, ca_crt=CA.pem)) == [("UnusableSecret", *where)]
    assert said(bare + secret("me", **PAIR), now) == []
    assert said(expired, now) == [("ExpiredCertificate", *where)]
