"""TLS with a Secret's certificates, as server and client see it: what is shown, who is trusted, what a lack does."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pilotfish.config import load
from pilotfish.derive import Graph
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.values import ResourceSet
from pilotfish.mesh import inputs
from tests.certificates import Issued, issue, revoke, secret
from tests.envoy.conftest import WEBAPP, LiveEnvoy, Start
from tests.envoy.wire import start_wire
from tests.waiting import wait_until

SERVER, PORT = "10.245.1.2", 8443
SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{name}.example.com]
  addresses: [10.96.1.{index}]
  resolution: STATIC
  ports: [{{number: 80, name: a, protocol: HTTP, targetPort: 8443}}]
  endpoints: [{{address: 10.245.1.2}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: vm}}
spec:
  host: {name}.example.com
  workloadSelector: {{matchLabels: {{app: webapp}}}}
  trafficPolicy: {{tls: {{{tls}}}}}
---
"""
CA, STRANGER = issue("ca"), issue("stranger")
ALL = ("simple", "mutual", "both", "distrusted", "revoked", "missing", "unfit", "unchecked", "apart", "alone", "public")
HOST = issue("server", CA, *(f"{name}.example.com" for name in ALL))
ME, OTHER = issue("me", CA), issue("other", CA)
LOST = "503 Service Unavailable"

CASES = {
    "simple": ("mode: SIMPLE, credentialName: trusted", "simple.example.com as nobody"),
    "mutual": ("mode: MUTUAL, credentialName: me", "mutual.example.com as me"),
    "both": ("mode: MUTUAL, credentialName: apart, sni: asked, subjectAltNames: [both.example.com]", "asked as other"),
    "unchecked": ("mode: MUTUAL, credentialName: alone, insecureSkipVerify: true", "unchecked.example.com as me"),
    "distrusted": ("mode: SIMPLE, credentialName: stranger", LOST),
    "revoked": ("mode: SIMPLE, credentialName: revoking", LOST),
    "missing": ("mode: MUTUAL, credentialName: missing", LOST),
    "unfit": ("mode: MUTUAL, credentialName: unfit", LOST),
}
AUTHORITIES = {
    "apart": ("mode: MUTUAL, credentialName: misled, caCertCredentialName: trusted", "apart.example.com as other"),
    "alone": ("mode: SIMPLE, caCertCredentialName: trusted", "alone.example.com as nobody"),
    "public": ("mode: SIMPLE, credentialName: 'configmap://vm/roots'", "public.example.com as nobody"),
    "both": (
        "mode: MUTUAL, credentialName: me, caCertCredentialName: 'configmap://vm/roots'",
        "both.example.com as me",
    ),
    "distrusted": ("mode: SIMPLE, caCertCredentialName: 'configmap://vm/strangers'", LOST),
    "missing": ("mode: SIMPLE, caCertCredentialName: 'configmap://vm/missing'", LOST),
    "unfit": ("mode: SIMPLE, caCertCredentialName: 'configmap://vm/empty'", LOST),
}
"""Whom to trust has a name of its own."""
SECRETS = (
    secret("trusted", cacert=CA.pem)
    + secret("me", tls_crt=ME.pem, tls_key=ME.key, ca_crt=CA.pem)
    + secret("apart", cert=OTHER.pem, key=OTHER.key)
    + secret("apart-cacert", ca_crt=CA.pem)
    + secret("alone", cert=ME.pem, key=ME.key)
    + secret("stranger", cacert=STRANGER.pem)
    + secret("revoking", ca_crt=CA.pem, ca_crl=revoke(CA, HOST))
    + secret("unfit", tls_crt=ME.pem, tls_key=OTHER.key, ca_crt=CA.pem)
    + secret("missing", "elsewhere", tls_crt=ME.pem, tls_key=ME.key, ca_crt=CA.pem)
)


def config_map(name: str, **data: str) -> str:
    metadata = {"name": name, "namespace": "vm"}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}) + "\n---\n"


CONFIG_MAPS = (
    secret("misled", tls_crt=OTHER.pem, tls_key=OTHER.key, ca_crt=STRANGER.pem)
    + config_map("roots", **{"ca.crt": CA.pem})
    + config_map("strangers", cacert=STRANGER.pem)
    + config_map("empty", other="x")
)


@pytest.fixture
def server_files() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (("server.pem", HOST.pem), ("server.key", HOST.key), ("ca.pem", CA.pem)):
            (folder / file).write_text(text)
        yield folder


def services(cases: dict[str, tuple[str, str]]) -> str:
    return "".join(SERVICE.format(name=name, index=i, tls=tls) for i, (name, (tls, _)) in enumerate(cases.items(), 1))


def test_a_secret_is_shown_and_trusted_and_its_lack_harms_nobody_else(start: Start, server_files: Path) -> None:
    live = start(services(CASES) + SECRETS)
    start_wire(live, SERVER, PORT, "secret", server_files)
    seen = {
        name: _seen(live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com"))
        for index, name in enumerate(CASES, 1)
    }
    assert seen == {name: expected for name, (_, expected) in CASES.items()}
    assert "PRIVATE KEY" not in live.get("/config_dump"), "Envoy shows none itself"


def test_whom_to_trust_may_have_a_name_of_its_own(start: Start, server_files: Path) -> None:
    live = start(services(AUTHORITIES) + SECRETS + CONFIG_MAPS)
    start_wire(live, SERVER, PORT, "secret", server_files)
    seen = {
        name: _seen(live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com"))
        for index, name in enumerate(AUTHORITIES, 1)
    }
    assert seen == {name: expected for name, (_, expected) in AUTHORITIES.items()}


FOR_ALL = {
    "public": ("mode: SIMPLE, caCertCredentialName: 'configmap://vm/roots'", "public.example.com as nobody"),
    "both": (
        "mode: MUTUAL, clientCertificate: {folder}/me.pem, privateKey: {folder}/me.key, "
        "caCertCredentialName: 'configmap://vm/roots'",
        "both.example.com as me",
    ),
    "distrusted": ("mode: SIMPLE, caCertCredentialName: 'configmap://vm/strangers'", LOST),
}


def test_a_config_map_is_for_every_client(start: Start, server_files: Path) -> None:
    for file, text in (("me.pem", ME.pem), ("me.key", ME.key)):
        (server_files / file).write_text(text)
        (server_files / file).chmod(0o644)
    server_files.chmod(0o755)
    cases = {name: (tls.replace("{folder}", str(server_files)), seen) for name, (tls, seen) in FOR_ALL.items()}
    text = services(cases).replace("  workloadSelector: {matchLabels: {app: webapp}}\n", "")
    live = start(text + CONFIG_MAPS)
    start_wire(live, SERVER, PORT, "secret", server_files)
    seen = {
        name: _seen(live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com"))
        for index, name in enumerate(cases, 1)
    }
    assert seen == {name: expected for name, (_, expected) in cases.items()}


def test_a_rotated_secret_is_shown_to_new_connections_and_ends_none(start: Start, server_files: Path) -> None:
    live = start.serving(_resources(ME))
    start_wire(live, SERVER, PORT, "secret", server_files)
    assert _mutual(live) == "mutual.example.com as me"
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(_mutual, live, "/after/2")
        wait_until(
            "the request is under way",
            lambda: "rq_active::1" in live.get("/clusters"),
        )
        live.ads.update(_resources(OTHER))
        # Not asked by calls: one that comes too early makes a connection with the old one, which serves the next call.
        wait_until("the new one is there", lambda: _has(live, OTHER))
        assert _mutual(live) == "mutual.example.com as other"
        assert not under_way.done(), "the new one is in use while the old connection lasts"
        assert under_way.result() == "mutual.example.com as me"
    live.ads.update(_resources(None))
    wait_until("there is none", lambda: _mutual(live) == LOST)
    live.ads.update(_resources(ME))
    wait_until("there is one again", lambda: _mutual(live) == "mutual.example.com as me")
    assert not live.ads.nacks


def _resources(shown: Issued | None) -> ResourceSet:
    text = services({"mutual": ("mode: MUTUAL, credentialName: me", "")})
    if shown is not None:
        text += secret("me", tls_crt=shown.pem, tls_key=shown.key, ca_crt=CA.pem)
    graph = Graph()
    inputs.apply(graph, {m.ref: m for m in load(text, "in.yaml", "vm").manifests})
    return resource_set(graph, WEBAPP)


def _has(live: LiveEnvoy, issued: Issued) -> bool:
    return b64encode(issued.pem.encode()).decode() in live.get("/config_dump?resource=dynamic_active_secrets")


def _mutual(live: LiveEnvoy, path: str = "/") -> str:
    return _seen(live.request(live.netns, "10.96.1.1", 80, "mutual.example.com", path))


def _seen(answer: str) -> str:
    head, _, body = answer.partition("\n\n")
    if "200 OK" not in head:
        return head.partition("\n")[0].removeprefix("HTTP/1.1 ")
    told = json.loads(body)
    return f"{told['asked']} as {told['client'] or 'nobody'}"
