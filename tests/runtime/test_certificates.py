"""Certificates from a discovery, over its secure port: who gets which, and what they are good for there."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from pilotfish.envoy.types import ROUTE
from pilotfish.identity import domains, succession
from pilotfish.identity.authority import load_all
from pilotfish.identity.messages import ROOTS, ROTATE, decode_roots
from pilotfish.identity.requests import new_key
from pilotfish.identity.tokens import LIFETIME, Claims
from pilotfish.model.identity import Identity
from pilotfish.model.private import PrivateBytes
from pilotfish.runtime.discovery import front, readers
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.rpc.client import RpcError
from tests.certificates import Issued, issue, secret
from tests.manifests import save, service
from tests.prometheus import total
from tests.runtime.discovery_client import Client, connected, get
from tests.runtime.identities import NAME, Secured, Shown, pod, secured
from tests.waiting import until

ONE = service("one", "10.96.0.10", "10.0.0.1")
WEB = Claims("vm", "web", "web-0", "web-0-1", ("127.0.0.1",))
BANK = Claims("vm", "bank", "bank-0", "bank-0-1", ("127.0.0.1",))
OPERATOR = Claims("", "", is_operator=True)
ME = "spiffe://cluster.local/ns/vm/sa/web"
TRUST_DOMAIN = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "trustDomain: example.org"}
"""
LOCAL = "sidecar~127.0.0.1~{}~{}.svc.cluster.local"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.yaml"
    save(path, ONE + pod("web-0", "web") + pod("bank-0", "bank") + pod("far-0", "web", "10.0.0.9"))
    return path


def uris(chain: bytes) -> list[str]:
    names = load_all(chain)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


async def test_a_pod_gets_the_certificate_of_its_account(file: Path, tmp_path: Path) -> None:
    async with secured(file, directory=tmp_path) as made:
        token = made.token(WEB)
        for asked in ("", ME):
            shown = await made.certificate(token, asked)
            assert uris(shown.chain) == [ME]
            assert load_all(shown.chain)[0].not_valid_after_utc.timestamp() == pytest.approx(time.time() + 3600, abs=5)
            assert shown.roots == made.roots.read_bytes()


@pytest.mark.parametrize(
    ("claims", "asked", "why"),
    [
        (WEB, "spiffe://cluster.local/ns/vm/sa/bank", "asks for a certificate of spiffe://cluster.local/ns/vm/sa/bank"),
        (WEB, "spiffe://other/ns/vm/sa/web", "asks for a certificate of spiffe://other/ns/vm/sa/web"),
        (Claims("vm", "bank", "web-0", "web-0-1", ("127.0.0.1",)), "", "runs as web"),
        (Claims("vm", "web", "web-0", "another", ("127.0.0.1",)), "", "is not that of pod web-0"),
        (Claims("vm", "web", "web-0", "web-0-1", ("10.0.0.1",)), "", "from its pod's addresses only"),
        (Claims("vm", "web", "far-0"), "", "127.0.0.1 is no address of pod far-0.vm"),
        (Claims("vm", "web"), "", "bound to no pod"),
        (Claims("vm", "web", "gone-0"), "", "bound to no pod"),
        (OPERATOR, "", "name one identity of trust domain cluster.local"),
        (OPERATOR, "spiffe://other/ns/vm/sa/web", "name one identity of trust domain cluster.local"),
    ],
)
async def test_nobody_gets_anothers(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, claims: Claims, asked: str, why: str
) -> None:
    async with secured(file, directory=tmp_path) as made:
        with pytest.raises(RpcError, match=why):
            await made.certificate(made.token(claims), asked)
        assert any(why in record.getMessage() for record in caplog.records), "it is in the log"


async def test_a_token_that_is_none_is_worth_nothing(file: Path, tmp_path: Path) -> None:
    async with secured(file, directory=tmp_path) as made:
        for token, why in (
            (made.token(WEB, time.time() - LIFETIME - 1), "it expired"),
            (made.token(WEB, key=new_key()), "signed by nobody who may"),
            ("", "a certificate is given for a pod's token"),
            ("nonsense", "no signed token"),
        ):
            with pytest.raises(RpcError, match=why):
                await made.certificate(token)
        _, text = await get(made.made, "/metrics")
        assert total(text, "pilotfish_xds_refused_streams_total", reason="identity") == 3
        assert total(text, "pilotfish_xds_refused_streams_total", reason="certificate") == 1


async def test_an_operator_names_any_identity_of_the_mesh(file: Path, tmp_path: Path) -> None:
    async with secured(file, directory=tmp_path) as made:
        anybody = str(Identity("cluster.local", "prod", "batch"))
        assert uris((await made.certificate(made.token(OPERATOR), anybody)).chain) == [anybody]


async def ending(made: Secured, node: str, channel: grpc.aio.Channel) -> tuple[grpc.StatusCode, str]:
    """How a proxy's stream ends that is not served."""
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await Client().run(made.made.xds, node, channel)
    return ended.value.code(), ended.value.details() or ""


async def test_a_proxy_is_served_as_whom_it_proves_to_be_and_as_nobody_else(file: Path, tmp_path: Path) -> None:
    async with secured(file, directory=tmp_path) as made:
        shown = await made.certificate(made.token(WEB))
        mine = LOCAL.format("web-0.vm", "vm")
        for channel in (made.channel(shown), made.channel(token=made.token(WEB))):
            async with connected(made.made.xds, node_id=mine, channel=channel) as proxy:
                await proxy.until("all is there", lambda proxy=proxy: "8000" in proxy.has[ROUTE])
        for node, channel, why in (
            (
                LOCAL.format("bank-0.vm", "vm"),
                made.channel(shown),
                f"{ME} is not served as bank-0.vm, which runs as bank",
            ),
            (LOCAL.format("web-0.prod", "prod"), made.channel(shown), f"{ME} is not served as web-0.prod"),
            (LOCAL.format("bank-0.vm", "vm"), made.channel(token=made.token(WEB)), f"{ME} is not served as bank-0.vm"),
            (mine, made.channel(), "neither a certificate of this mesh nor a token"),
            (mine, made.channel(token=made.token(OPERATOR)), "neither a certificate of this mesh nor a token"),
            (mine, made.channel(token=made.token(WEB, 0.0)), "the token is refused: it expired"),
        ):
            code, said = await ending(made, node, channel)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert why in said


async def test_certificates_of_others_end_the_handshake(file: Path, tmp_path: Path) -> None:
    stranger = issue("stranger", is_ca=True)
    theirs = issue("web", stranger)
    async with secured(file, directory=tmp_path) as made:
        expired = await made.certificate(made.token(WEB), seconds=1)
        await asyncio.sleep(1.1)
        foreign = Shown(PrivateBytes(theirs.key.encode()), theirs.pem.encode(), b"")
        for shown in (expired, foreign):
            code, _ = await ending(made, LOCAL.format("web-0.vm", "vm"), made.channel(shown))
            assert code is grpc.StatusCode.UNAVAILABLE


def s_client(made: Secured, roots: Path, *more: str) -> str:
    """What openssl says of the secure port."""
    command = ("openssl", "s_client", "-connect", str(made.made.secure), "-CAfile", str(roots), "-alpn", "h2", *more)
    done = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")  # HTTP/2 may be in it


async def test_openssl_sees_discoverys_name_and_identity(file: Path, tmp_path: Path) -> None:
    async with secured(file, directory=tmp_path) as made:
        said = await asyncio.to_thread(s_client, made, made.roots, "-verify_hostname", NAME, "-verify_return_error")
        assert "Verify return code: 0 (ok)" in said
        assert "ALPN protocol: h2" in said
        begin, end = said.index("-----BEGIN"), said.index("-----END CERTIFICATE-----") + 26
        assert uris(said[begin:end].encode()) == ["spiffe://cluster.local/ns/istio-system/sa/istiod"]
        wrong = await asyncio.to_thread(
            s_client, made, made.roots, "-verify_hostname", "other.svc", "-verify_return_error"
        )
        assert "verify error" in wrong.lower() or "hostname mismatch" in wrong.lower()


async def test_a_restart_keeps_the_root_which_root_alone_reads(file: Path, tmp_path: Path) -> None:
    async with secured(file, directory=tmp_path) as made:
        first, shown = made.roots.read_bytes(), await made.certificate(made.token(WEB))
        state = made.roots.with_name("authority.json")
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        assert stat.S_IMODE(state.parent.stat().st_mode) == 0o700
    async with secured(file, directory=tmp_path) as made:
        assert made.roots.read_bytes() == first
        node, channel = LOCAL.format("web-0.vm", "vm"), made.channel(shown)
        async with connected(made.made.xds, node_id=node, channel=channel) as proxy:
            await proxy.until("it is served with what it had", lambda: "8000" in proxy.has[ROUTE])
    state.write_text("{")
    with pytest.raises(MachineError, match=r"authority\.json can't be read"):
        async with secured(file, directory=tmp_path):
            pass


async def test_a_new_root_is_told_before_it_signs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "SPREAD", 1.0)
    async with secured(file, directory=tmp_path) as made:
        first, old = made.roots.read_bytes(), await made.certificate(made.token(WEB))
        told = made.client("").follow(ROOTS)
        before = decode_roots(await anext(told))
        assert before.trusted == first
        with pytest.raises(RpcError, match="by who runs the mesh alone"):
            await made.client("").ask(ROTATE, b"", made.token(WEB))
        await made.client("").ask(ROTATE, b"", made.token(OPERATOR))
        meanwhile = decode_roots(await anext(told))
        assert meanwhile.trusted.startswith(first)
        assert meanwhile.trusted != first
        assert meanwhile.issuer == before.issuer
        assert load_all((await made.certificate(made.token(WEB))).chain)[0].issuer == load_all(first)[0].subject
        after = decode_roots(await asyncio.wait_for(anext(told), 5))
        assert after.issuer != before.issuer
        new = await made.certificate(made.token(WEB))
        assert load_all(new.chain)[0].issuer != load_all(first)[0].subject
        for shown in (old, new):
            node, channel = LOCAL.format("web-0.vm", "vm"), made.channel(shown)
            async with connected(made.made.xds, node_id=node, channel=channel) as proxy:
                await proxy.until("served", lambda proxy=proxy: "8000" in proxy.has[ROUTE])
        await told.aclose()  # type: ignore[attr-defined]


async def test_a_new_trust_domain_is_taken_before_it_is_signed_and_the_old_one_for_a_while(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "SPREAD", 2.0)
    monkeypatch.setattr(domains, "LEFT", 2.0)
    named = ME.replace("cluster.local", "example.org")
    async with secured(file, directory=tmp_path) as made:
        old = await made.certificate(made.token(WEB))
        save(file, file.read_text() + TRUST_DOMAIN)
        await until(
            "both are taken", lambda: set(made.made.plane.door.trust_domains) == {"example.org", "cluster.local"}
        )
        meanwhile = await made.certificate(made.token(WEB), ME)
        assert uris(meanwhile.chain) == [ME]
    async with secured(file, directory=tmp_path) as made:  # a discovery that was killed goes on
        told = made.client("").follow(ROOTS)
        assert decode_roots(await anext(told)).trust_domain == "cluster.local"
        assert decode_roots(await asyncio.wait_for(anext(told), 5)).trust_domain == "example.org"
        await told.aclose()  # type: ignore[attr-defined]
        new = await made.certificate(made.token(WEB))
        assert uris(new.chain) == [named]
        for shown in (old, new):
            node, channel = LOCAL.format("web-0.vm", "vm"), made.channel(shown)
            async with connected(made.made.xds, node_id=node, channel=channel) as proxy:
                await proxy.until("served", lambda proxy=proxy: "8000" in proxy.has[ROUTE])
        await until("the old one is forgotten", lambda: made.made.plane.door.trust_domains == ("example.org",))


ROOT = issue("corp root", is_ca=True)
MIDDLE, NEXT = issue("corp middle", ROOT, is_ca=True), issue("corp next", ROOT, is_ca=True)


def plugged(by: Issued = MIDDLE) -> dict[str, str]:
    return {"ca-cert.pem": by.pem, "ca-key.pem": by.key, "cert-chain.pem": by.pem + ROOT.pem, "root-cert.pem": ROOT.pem}


def put(directory: Path, files: Iterable[tuple[str, str]]) -> None:
    directory.mkdir(exist_ok=True)
    for name, text in files:
        (directory / name).write_text(text)


async def test_the_users_own_authority_signs_and_another_below_its_root_follows_at_once(
    file: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    put(mine, plugged().items())
    async with secured(file, directory=tmp_path, authority=mine) as made:
        shown = await made.certificate(made.token(WEB))
        assert [c.subject.rfc4514_string() for c in load_all(shown.chain)] == ["", "CN=corp middle"]
        assert made.roots.read_text() == ROOT.pem
        assert MIDDLE.key.splitlines()[1] not in made.roots.with_name("authority.json").read_text()
        put(mine, plugged(NEXT).items())
        signer = made.made.authority
        assert signer is not None
        await signer.moved.wait_for(lambda: signer.state.current.certificate == NEXT.pem.encode(), 10)
        shown = await made.certificate(made.token(WEB))
        assert load_all(shown.chain)[1].subject.rfc4514_string() == "CN=corp next"
        with pytest.raises(RpcError, match="change it there"):
            await made.client("").ask(ROTATE, b"", made.token(OPERATOR))
    put(mine, {"ca-key.pem": ROOT.key}.items())
    with pytest.raises(MachineError, match=r"ca-key\.pem is not the key"):
        async with secured(file, directory=tmp_path, authority=mine):
            pass


async def test_a_root_that_was_exchanged_while_discovery_was_away_is_trusted_before_it_signs(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "SPREAD", 2.0)
    mine, other = tmp_path / "mine", issue("other root", is_ca=True)
    put(mine, plugged().items())
    async with secured(file, directory=tmp_path, authority=mine) as made:
        old = await made.certificate(made.token(WEB))
    exchanged = {name: text.replace(ROOT.pem, other.pem) for name, text in plugged(other).items()}
    put(mine, {**exchanged, "cert-chain.pem": ""}.items())
    async with secured(file, directory=tmp_path, authority=mine) as made:
        with pytest.raises(RpcError, match="a new root is made known first"):
            await made.certificate(made.token(WEB))
        told = made.client("").follow(ROOTS)
        assert load_all(decode_roots(await anext(told)).trusted) == load_all((other.pem + ROOT.pem).encode())
        await told.aclose()  # type: ignore[attr-defined]
        node, channel = LOCAL.format("web-0.vm", "vm"), made.channel(old)
        async with connected(made.made.xds, node_id=node, channel=channel) as proxy:
            await proxy.until("it is served with what it had", lambda: "8000" in proxy.has[ROUTE])

        async def signed() -> Shown | None:
            with suppress(RpcError):
                return await made.certificate(made.token(WEB))
            return None

        shown = await until("it signs", signed)
        assert load_all(shown.chain)[0].issuer == other.certificate.subject


async def test_the_secret_cacerts_takes_over_and_what_is_wrong_with_it_is_said(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "SPREAD", 0.2)
    keys = {name.replace(".", "_"): text for name, text in plugged().items()}
    more = tmp_path / "secret.yaml"
    async with secured(tmp_path, directory=tmp_path) as made:
        signer = made.made.authority
        assert signer is not None
        own = made.roots.read_bytes()
        save(more, secret("cacerts", "istio-system", **keys))
        await signer.moved.wait_for(lambda: signer.state.current.certificate == MIDDLE.pem.encode(), 10)
        assert made.roots.read_bytes() == ROOT.pem.encode() + own, "what the first root signed is in use"
        shown = await made.certificate(made.token(WEB))
        assert load_all(shown.chain)[1].subject.rfc4514_string() == "CN=corp middle"
        save(more, secret("cacerts", "istio-system", **{**keys, "ca-key_pem": NEXT.key}))

        async def said() -> list[str]:
            _, found = await get(made.made, "/api/problems")
            return [problem["message"] for problem in found if problem["reason"] == "UnusableAuthority"]

        words = await until("it is said", said)
        assert "ca-key.pem is not the key of the certificate in ca-cert.pem" in words[0]
        assert (await made.certificate(made.token(WEB))).chain.count(b"BEGIN") == 2


async def test_an_old_connection_is_ended_over_tls_too_and_what_is_under_way_is_answered(
    file: Path, tmp_path: Path
) -> None:
    async with secured(file, directory=tmp_path, connection_age=0.5) as made:
        shown = await made.certificate(made.token(WEB))
        roots = made.client(made.token(WEB)).follow(ROOTS)
        assert decode_roots(await anext(roots)).trusted == shown.roots
        client, received, secure = Client(), [], made.made.secure
        assert secure is not None
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await client.run(secure, LOCAL.format("web-0.vm", "vm"), made.channel(shown))
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
            received.append(client.received)
        assert len(set(received)) == 1, "who comes again is sent nothing that it has"
        with pytest.raises(OSError, match=r"broke the call off|(closed|ended) the connection"):
            async for _ in roots:
                pass


async def test_what_a_pod_reads_on_the_monitoring_port(file: Path, tmp_path: Path) -> None:
    """Here loopback is everybody's, so that a trusted reader is one thing and the rules for pods another."""
    async with secured(file, directory=tmp_path) as made:
        plane = made.made.plane
        assert plane.is_at(LOCAL.format("web-0.vm", "vm"), "127.0.0.1")
        assert plane.is_at("far-0.vm", "10.0.0.9")
        assert not plane.is_at("far-0.vm", "127.0.0.1")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(readers, "is_loopback", lambda host: False)
            for path, status in (
                ("/ready", 200),
                ("/metrics", 200),
                ("/api/names?proxyID=web-0.vm", 200),
                ("/api/names?proxyID=far-0.vm", 403),
                ("/api/names", 403),
                ("/api/problems", 403),
                ("/api/identity", 403),
                ("/debug/adsz", 403),
                ("/debug/configz", 403),
                ("/debug/config_dump?proxyID=far-0.vm", 403),
                ("/debug/config_dump?proxyID=web-0.vm", 404),
            ):
                assert (await get(made.made, path))[0] == status, path
        code, view = await get(made.made, "/api/identity")
        assert code == 200
        assert view["source"] == "made by pilotfish"
        assert view["roots"][0]["serial"] == view["signer"]["serial"]


async def test_who_speaks_no_tls_or_never_ends_its_handshake_costs_little_and_nobody_else(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "_HANDSHAKE", 0.5)

    async def speak(address: Address, said: bytes) -> None:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(said)
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 5)
        writer.transport.abort()

    async with secured(file, directory=tmp_path) as made:
        address = made.made.secure
        assert address is not None
        said = (
            b"GET / HTTP/1.1\r\n" + b"x" * 200_000,
            b"\x16\x03\x01\x40\x00" + b"y" * 200_000,
            b"\x16\x03\x01\x00\x20",
            b"",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        )
        before = _anonymous()
        for _ in range(8):
            await asyncio.gather(*(speak(address, each) for each in said * 4))
        assert _anonymous() - before < 40_000, "kilobytes, after 160 connections; asyncio's own TLS holds twice that"
        assert uris((await made.certificate(made.token(WEB))).chain) == [ME]


def _anonymous() -> int:
    """Kilobytes of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
