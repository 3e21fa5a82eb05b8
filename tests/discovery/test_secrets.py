"""Whatever is done to show a secret's resource shows neither its bytes nor a hash of them, and it still works."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import logging
from collections.abc import Callable, Iterable
from hashlib import blake2b

import msgspec
import pytest
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3 import discovery_pb2

from pilotfish.ads import DeltaRequest, Effect, Send, Stream, StreamCache, WorldRequest, parse_delta, parse_world
from pilotfish.ads.wire import Payload
from pilotfish.discovery.dump import entries
from pilotfish.discovery.rejection import Nack
from pilotfish.envoy.printing import to_json
from pilotfish.envoy.types import SECRET, DumpSection, xds_type
from pilotfish.envoy.values import Layer, Resource, ResourceSet
from pilotfish.model.private import reveal
from pilotfish.runtime.discovery.pages import answer

KEY = b"-----BEGIN PRIVATE KEY-----very secret"


def secret(key: bytes = KEY) -> Resource:
    certificate = TlsCertificate(private_key=DataSource(inline_bytes=key))
    return Resource.make(SECRET, "default", Secret(name="default", tls_certificate=certificate).SerializeToString())


def hashes() -> Iterable[str]:
    """Everything that is computed of the secret alone, as plain text."""
    resource = secret()
    yield blake2b(reveal(resource.body), digest_size=8).hexdigest()
    yield reveal(resource.version)
    yield reveal(Layer(SECRET, (resource,)).version)


def shows_nothing(text: str) -> bool:
    forms = [*hashes(), "very secret", KEY.hex(), base64.b64encode(KEY).decode()[4:-4]]
    return not any(form in text for form in forms)


def sent(effects: Iterable[Effect]) -> list[Payload]:
    return [effect.payload for effect in effects if isinstance(effect, Send)]


def things() -> list[object]:
    resource = secret()
    nack = Nack("web-0", SECRET, "default", resource.version, (), "no")
    asked = discovery_pb2.DeltaDiscoveryRequest(
        type_url=SECRET, initial_resource_versions={"default": reveal(resource.version)}
    )
    world = discovery_pb2.DiscoveryRequest(type_url=SECRET, version_info=reveal(resource.version))
    stream = stream_of(resource)
    effects = stream.receive(DeltaRequest(SECRET, subscribe=("default",)), 0.0)
    return [
        resource,
        resource.body,
        resource.version,
        dataclasses.asdict(resource),
        copy.deepcopy(resource).body,
        Layer(SECRET, (resource,)),
        nack,
        parse_delta(asked.SerializeToString()),
        parse_world(world.SerializeToString()),
        effects,
        stream.watches[SECRET].holding,
        to_json(resource),
        entries(section(), [resource]),
    ]


def section() -> DumpSection:
    found = xds_type(SECRET).dump
    assert found is not None
    return found


def stream_of(resource: Resource, delta: bool = True) -> Stream:
    stream = Stream(StreamCache(), delta=delta)
    stream.update(ResourceSet((Layer(SECRET, (resource,)),)), 0.0)
    return stream


SHOWING: list[Callable[[object], str]] = [
    str,
    repr,
    format,
    "{0!s} {0!r} {0}".format,
    lambda thing: f"{thing} {thing!r} {thing!s:>40}",
    lambda thing: "%s %r" % (thing, thing),  # noqa: UP031
    lambda thing: str([thing, {"a": thing}]),
    lambda thing: msgspec.json.encode([thing], enc_hook=str).decode(),
    lambda thing: json.dumps([thing], default=str),
    lambda thing: "".join(part for part in [thing] if isinstance(part, str)),
    lambda thing: (b"".join(part for part in [thing] if isinstance(part, bytes))).hex(),
]


@pytest.mark.parametrize("show", SHOWING)
def test_nothing_is_shown(show: Callable[[object], str]) -> None:
    for thing in things():
        assert shows_nothing(show(thing)), type(thing)


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    for thing in things():
        logging.getLogger("test").warning("%s %r", thing, thing)
    assert shows_nothing(caplog.text)


def test_a_page_of_discovery_says_that_there_is_a_secret_and_no_more() -> None:
    page = str(answer({"version": secret().version, "configs": entries(section(), [secret()])}).text)
    assert '"name": "default"' in page
    assert "[redacted]" in page
    assert shows_nothing(page)


@pytest.mark.parametrize("delta", [True, False])
def test_a_secret_is_sent_as_it_is_and_again_when_it_changes(delta: bool) -> None:
    stream = stream_of(secret(), delta)
    ask = DeltaRequest(SECRET, subscribe=("default",)) if delta else WorldRequest(SECRET, names=("default",))
    (first,) = sent(stream.receive(ask, 0.0))
    assert KEY in first.encode()
    if delta:
        assert reveal(secret().version).encode() in first.encode(), "the version is the proxy's to know"
    stream.receive(
        DeltaRequest(SECRET, first.nonce) if delta else WorldRequest(SECRET, first.nonce, names=("default",)), 0.0
    )
    assert stream.settled
    same = ResourceSet((Layer(SECRET, (secret(),)),))
    assert sent(stream.update(same, 1.0)) == []
    (second,) = sent(stream.update(ResourceSet((Layer(SECRET, (secret(b"another key"),)),)), 2.0))
    assert b"another key" in second.encode()


def test_a_proxy_that_reconnects_is_not_sent_the_secret_that_it_has() -> None:
    request = discovery_pb2.DeltaDiscoveryRequest(
        type_url=SECRET,
        resource_names_subscribe=["default"],
        initial_resource_versions={"default": reveal(secret().version)},
    )
    assert sent(stream_of(secret()).receive(parse_delta(request.SerializeToString()), 0.0)) == []
