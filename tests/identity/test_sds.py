"""SDS, as Envoy's own messages read it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.identity.sds import SdsStream, build_secrets

FIRST = build_secrets(b"chain", b"key", b"roots")
RENEWED = build_secrets(b"another chain", b"another key", b"roots")


def world(names: Iterable[str], error: str = "") -> bytes:
    request = DiscoveryRequest(resource_names=names, type_url="x")
    if error:
        request.error_detail.message = error
    body: bytes = request.SerializeToString()
    return body


def delta(more: Iterable[str] = (), less: Iterable[str] = (), held: dict[str, str] | None = None) -> bytes:
    request = DeltaDiscoveryRequest(
        resource_names_subscribe=more, resource_names_unsubscribe=less, initial_resource_versions=held or {}
    )
    body: bytes = request.SerializeToString()
    return body


def test_the_state_of_the_world() -> None:
    stream = SdsStream(delta=False)
    assert stream.receive(world(["default"]), {}) == (), "there is none yet, and Envoy waits"
    (body,) = stream.update(FIRST)
    response = DiscoveryResponse.FromString(body)
    assert response.type_url == "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    secret = Secret()
    assert response.resources[0].Unpack(secret)
    assert secret.name == "default"
    assert secret.tls_certificate.certificate_chain.inline_bytes == b"chain"
    assert secret.tls_certificate.private_key.inline_bytes == b"key"
    assert stream.receive(world(["default"]), FIRST) == (), "an acknowledgement"
    assert stream.update(FIRST) == ()
    (body,) = stream.update(RENEWED)
    again = DiscoveryResponse.FromString(body)
    assert again.version_info != response.version_info
    assert again.nonce != response.nonce


def test_what_is_gone_is_taken_back() -> None:
    """A machine's Envoy has the secrets of its pods, each by a name of its own."""
    pod = build_secrets(b"pod's", b"key", b"roots", "/run/netns/pf-m.vm.web")
    stream = SdsStream(delta=True)
    assert stream.receive(delta(["/run/netns/pf-m.vm.web", "default"], held={"default": "old"}), {}) == ()
    (body,) = stream.update({**FIRST, **pod})
    given = DeltaDiscoveryResponse.FromString(body)
    assert {resource.name for resource in given.resources} == {"/run/netns/pf-m.vm.web", "default"}
    (body,) = stream.update(FIRST)
    taken = DeltaDiscoveryResponse.FromString(body)
    assert (list(taken.removed_resources), list(taken.resources)) == (["/run/netns/pf-m.vm.web"], [])
    assert stream.update(FIRST) == ()
    (body,) = stream.update({**FIRST, **pod})
    assert [each.name for each in DeltaDiscoveryResponse.FromString(body).resources] == ["/run/netns/pf-m.vm.web"]


def test_the_difference() -> None:
    stream = SdsStream(delta=True)
    (body,) = stream.receive(delta(["default", "ROOTCA", "other"]), FIRST)
    response = DeltaDiscoveryResponse.FromString(body)
    assert [each.name for each in response.resources] == ["default", "ROOTCA"]
    secret = Secret()
    assert response.resources[1].resource.Unpack(secret)
    assert secret.validation_context.trusted_ca.inline_bytes == b"roots"
    (body,) = stream.update(RENEWED)
    assert [each.name for each in DeltaDiscoveryResponse.FromString(body).resources] == ["default"]
    assert stream.receive(delta(less=["default"]), RENEWED) == ()
    assert stream.update(FIRST) == ()
    (body,) = stream.receive(delta(["default"]), FIRST)
    assert [each.name for each in DeltaDiscoveryResponse.FromString(body).resources] == ["default"]


def test_who_comes_again_is_sent_what_it_lacks() -> None:
    held = {name: secret.version for name, secret in FIRST.items()}
    assert SdsStream(delta=True).receive(delta(list(held), held=held), FIRST) == ()
    (body,) = SdsStream(delta=True).receive(delta(list(held), held=held), RENEWED)
    assert [each.name for each in DeltaDiscoveryResponse.FromString(body).resources] == ["default"]


@pytest.mark.parametrize("is_delta", [False, True])
def test_a_refusal_is_kept_in_envoys_words_and_not_answered(is_delta: bool) -> None:
    stream = SdsStream(delta=is_delta)
    stream.receive(delta(["default"]) if is_delta else world(["default"]), FIRST)
    request = DeltaDiscoveryRequest() if is_delta else DiscoveryRequest(resource_names=["default"])
    request.error_detail.message = "no key"
    assert stream.receive(request.SerializeToString(), FIRST) == ()
    assert stream.refusal == "no key"
    assert stream.update(RENEWED) != ()


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_request_or_none(body: bytes, is_delta: bool) -> None:
    with suppress(ValueError):
        SdsStream(delta=is_delta).receive(body, FIRST)


def test_a_key_is_nowhere_to_be_read() -> None:
    assert "key" not in repr(FIRST["default"])
