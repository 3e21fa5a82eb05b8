"""What an authority signs, what is signed by which authority while one follows another, and what is kept of it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import DNSName, UniformResourceIdentifier
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.identity import kept
from pilotfish.identity.authority import CERTIFICATE, CHAIN, KEY, ROOTS, Authority, load_all, make_root, read_authority
from pilotfish.identity.domains import Domains
from pilotfish.identity.requests import BadRequestError, build_request, new_key, parse_request
from pilotfish.identity.succession import Retired, Succession, advance, change, resume
from pilotfish.mesh.certificates import UnusableError
from pilotfish.model.identity import Identity
from pilotfish.model.private import reveal
from tests.certificates import Issued, issue

NOW = datetime.now(UTC).timestamp()
WEB = Identity("cluster.local", "vm", "web")
DAY = 86400.0
ROOT = issue("root", is_ca=True, days=365)
MIDDLE = issue("middle", ROOT, is_ca=True, days=100)
LOWER = issue("lower", MIDDLE, is_ca=True, days=90)
STRANGER = issue("stranger", is_ca=True)


def plugged(signer: Issued = LOWER, chain: str = LOWER.pem + MIDDLE.pem, roots: str = ROOT.pem) -> dict[str, bytes]:
    texts = {CERTIFICATE: signer.pem, KEY: signer.key, CHAIN: chain, ROOTS: roots}
    return {name: text.encode() for name, text in texts.items()}


def sign(authority: Authority, seconds: float = DAY, now: float = NOW) -> list[x509.Certificate]:
    return load_all(authority.sign(parse_request(build_request(new_key())).public_key, WEB, seconds, now))


def is_trusted(chain: list[x509.Certificate], roots: bytes, directory: Path, *strict: str) -> bool:
    """Whether openssl, as a TLS server's client and as its server, takes the certificate."""
    texts = {"roots": roots, "leaf": pem(chain[0]), "chain": b"".join(map(pem, chain))}
    for name, text in texts.items():
        (directory / name).write_bytes(text)
    said = []
    for purpose in ("sslserver", "sslclient"):
        command = [
            "openssl",
            "verify",
            *strict,
            "-purpose",
            purpose,
            "-CAfile",
            "roots",
            "-untrusted",
            "chain",
            "leaf",
        ]
        said.append(subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode == 0)
    assert said[0] == said[1]
    return said[0]


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("authority", "length"),
    [
        (make_root("cluster.local", NOW), 1),
        (read_authority(plugged(), NOW), 3),
        (read_authority(plugged(chain=LOWER.pem + MIDDLE.pem + ROOT.pem), NOW), 3),
        (read_authority(plugged(chain=MIDDLE.pem), NOW), 3),
        (read_authority(plugged(MIDDLE, ""), NOW), 2),
        (read_authority(plugged(ROOT, ""), NOW), 1),
        (read_authority(plugged(ROOT, ROOT.pem, STRANGER.pem + ROOT.pem), NOW), 1),
    ],
)
def test_what_is_signed_is_trusted_by_the_roots_alone(authority: Authority, length: int, tmp_path: Path) -> None:
    chain = sign(authority)
    assert len(chain) == length
    assert is_trusted(chain, authority.roots, tmp_path, *(("-x509_strict",) if authority.is_ours else ()))
    assert not is_trusted(chain, STRANGER.pem.encode(), tmp_path)
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert list(names.value) == [UniformResourceIdentifier("spiffe://cluster.local/ns/vm/sa/web")]
    assert chain[0].not_valid_after_utc.timestamp() == pytest.approx(NOW + DAY, abs=1)
    assert not chain[0].extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_no_certificate_outlives_what_signed_it() -> None:
    authority = read_authority(plugged(), NOW)
    assert sign(authority, 1000 * DAY)[0].not_valid_after_utc.timestamp() == authority.expires_at
    with pytest.raises(UnusableError, match="has expired"):
        sign(authority, DAY, authority.expires_at)


def test_a_server_has_names_beside_its_identity() -> None:
    key = parse_request(build_request(new_key())).public_key
    found = load_all(make_root("t", NOW).sign(key, WEB, DAY, NOW, ("istiod.istio-system.svc",)))[0]
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(DNSName) == ["istiod.istio-system.svc"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "ca-cert.pem and ca-key.pem and root-cert.pem are missing"),
        (plugged() | {KEY: b""}, "ca-key.pem is missing"),
        (plugged() | {CERTIFICATE: b"x"}, "ca-cert.pem holds no certificate in PEM"),
        (plugged() | {KEY: MIDDLE.key.encode()}, "ca-key.pem is not the key of the certificate in ca-cert.pem"),
        (plugged() | {ROOTS: b"x"}, "root-cert.pem holds no certificate"),
        (plugged(chain=""), "signed that of ca-cert.pem"),
        (plugged(chain=LOWER.pem), "signed that of ca-cert.pem"),
        (plugged(roots=STRANGER.pem), "signed the last of cert-chain.pem"),
        (plugged(issue("old", ROOT, is_ca=True, days=-1), ""), "ca-cert.pem has expired"),
        (plugged(issue("leaf", MIDDLE), MIDDLE.pem), "ca-cert.pem is no authority's certificate"),
    ],
)
def test_what_can_t_be_plugged_in(files: Mapping[str, bytes], why: str) -> None:
    with pytest.raises(UnusableError, match=why):
        read_authority(files, NOW)


def test_requests() -> None:
    key = new_key()
    found = parse_request(build_request(key, str(WEB)))
    assert found.uris == (str(WEB),)
    assert parse_request(build_request(key)).uris == ()
    for bad in (
        b"",
        b"x",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        b"x" * 20_000,
    ):
        with pytest.raises(BadRequestError):
            parse_request(bad)


def test_a_request_with_a_weak_key_is_refused() -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    weak = builder.sign(rsa.generate_private_key(65537, 1024), hashes.SHA256()).public_bytes(Encoding.PEM)
    with pytest.raises(BadRequestError, match="1024 bits"):
        parse_request(weak)


def test_a_new_root_is_trusted_before_it_signs_and_the_old_one_as_long_as_it_is_in_use() -> None:
    old, new = make_root("t", NOW), make_root("t", NOW)
    start = Succession(old)
    told = change(start, new, NOW, spread=10)
    assert told.current == old
    assert told.trusted == old.roots + new.roots
    assert told.wake_at == NOW + 10
    assert advance(told, NOW + 9) == told
    switched = advance(told, NOW + 10)
    assert switched.current == new
    assert load_all(switched.trusted) == load_all(new.roots + old.roots)
    assert switched.wake_at == NOW + 10 + DAY
    assert advance(switched, NOW + 10 + DAY).trusted == new.roots


def test_a_new_authority_below_the_same_root_signs_at_once() -> None:
    first, second = read_authority(plugged(), NOW), read_authority(plugged(MIDDLE, ""), NOW)
    changed = change(Succession(first), second, NOW, 10)
    assert changed == Succession(second)


def test_a_change_that_is_taken_back_leaves_nothing() -> None:
    old, new = make_root("t", NOW), make_root("t", NOW)
    assert advance(change(change(Succession(old), new, NOW, 10), old, NOW + 1, 10), NOW + 100).trusted == old.roots


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20)), max_size=12))
def test_whatever_is_signed_is_trusted_by_whoever_heard_of_it_ten_seconds_ago_and_as_long_as_it_lives(
    steps: list[tuple[int, int]],
) -> None:
    authorities = _FOUR
    state, now, history = (
        Succession(authorities[0], longest=30),
        0.0,
        [(0.0, authorities[0].roots, authorities[0].roots)],
    )
    for which, seconds in steps:
        state = advance(change(state, authorities[which], now, spread=10), now)
        history.append((now, state.current.roots, state.trusted))
        end = now + seconds
        while state.wake_at is not None and state.wake_at <= end:
            now = state.wake_at
            state = advance(state, now)
            history.append((now, state.current.roots, state.trusted))
        now = end
    for at, signs, _ in history:
        # Who knows what was so ten seconds ago, and who knows all, trusts what is signed now.
        known = [trusted for when, _, trusted in history if when <= at - 10][-1:] or [history[0][2]]
        assert signs in known[0], "trusted by those who heard of it late"
        for when, _, trusted in history:
            if at <= when < at + 30 and any(began == at for began, *_ in history):
                assert signs in trusted, "trusted while it may be in use"


_FOUR = tuple(make_root("t", NOW) for _ in range(4))


def test_what_is_kept_is_read_again_and_shows_no_key_of_the_users() -> None:
    own, new, theirs = make_root("t", NOW), make_root("t", NOW), read_authority(plugged(), NOW)
    state = Succession(own, new, NOW + 5, (Retired(theirs.roots, NOW + DAY),), 2 * DAY)
    named = Domains("new", "newer", NOW + 5, (("old", NOW + 9),))
    assert kept.decode(kept.encode(state, named)) == (state, named)
    content = kept.encode(Succession(theirs), Domains("a"))
    assert reveal(theirs.key).decode().splitlines()[1].encode() not in content
    assert kept.decode(content)[0].current.certificate == theirs.certificate
    for broken in (b"", b"{}", b'{"current": {"certificate": "x", "chain": "", "roots": ""}, "longest": 1}'):
        with pytest.raises(kept.BrokenError):
            kept.decode(broken)


def test_a_start_goes_on_where_the_last_one_ended() -> None:
    own, theirs, other = (
        make_root("t", NOW),
        read_authority(plugged(), NOW),
        read_authority(plugged(STRANGER, "", STRANGER.pem), NOW),
    )
    assert resume(None, own, NOW, 10) == Succession(own)
    assert resume(kept.decode(kept.encode(Succession(theirs), Domains("a")))[0], theirs, NOW, 10) == Succession(theirs)
    plugged_in = resume(Succession(own), theirs, NOW, 10)
    assert plugged_in.current == own
    assert plugged_in.next == theirs
    exchanged = resume(kept.decode(kept.encode(Succession(theirs), Domains("a")))[0], other, NOW, 10)
    assert exchanged.current == other, "the key of the one before is not there any more"
    assert exchanged.silent_until == NOW + 10
    again = resume(kept.decode(kept.encode(exchanged, Domains("a")))[0], other, NOW + 1, 10)
    assert again.silent_until == NOW + 10, "a discovery that is killed meanwhile goes on"
    under_way = change(Succession(theirs), other, NOW - 7, 10)
    assert resume(kept.decode(kept.encode(under_way, Domains("a")))[0], other, NOW, 10).silent_until == NOW + 3
    assert load_all(exchanged.trusted) == load_all(other.roots + theirs.roots)
