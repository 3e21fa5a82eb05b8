"""What discovery is told, as bytes."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from pilotfish import config
from pilotfish.model.kinds import SERVICE
from pilotfish.node import store as storing
from pilotfish.node.listing import ListWriter
from pilotfish.node.store import Store
from tests.certificates import secret
from tests.manifests import service

ONE, TWO = SERVICE.ref("vm", "one"), SERVICE.ref("vm", "two")


def _names(items: bytes) -> list[tuple[str, str]]:
    return [(item["metadata"]["name"], item["spec"]["clusterIP"]) for item in msgspec.json.decode(items)]


def _store(text: str, before: Store | None = None) -> Store:
    return storing.apply(before or Store(), config.load(text, "a.yaml", "vm"), 0.0)[0]


def test_what_changed_is_told_and_the_rest_as_before() -> None:
    writer = ListWriter()
    store = _store(service("two", "10.96.0.2") + service("one", "10.96.0.1"))
    ips = {ONE: "10.96.0.1", TWO: "10.96.0.2"}
    assert _names(writer.write(store, ips, ()).items) == [("one", "10.96.0.1"), ("two", "10.96.0.2")]
    changed = _store(service("two", "10.96.0.9"), store)
    after = writer.write(changed, {**ips, TWO: "10.96.0.9"}, ()).items
    assert _names(after) == [("one", "10.96.0.1"), ("two", "10.96.0.9")]
    assert after == ListWriter().write(changed, {**ips, TWO: "10.96.0.9"}, ()).items
    assert _names(writer.write(changed, {ONE: "10.96.0.1"}, ()).items) == [("one", "10.96.0.1")], "two has no address"


def test_what_cannot_be_told_is_left_out_alone() -> None:
    store = _store(service("one", "10.96.0.1") + service("two", "10.96.0.2"))
    manifest = store.objects[ONE].manifest
    odd = replace(manifest, written={**manifest.document, "metadata": {"name": "\ud800"}})
    broken = replace(store, objects={**store.objects, ONE: replace(store.objects[ONE], manifest=odd)})
    ips = {ONE: "10.96.0.1", TWO: "10.96.0.2"}
    writer = ListWriter()
    rendered = writer.write(broken, ips, ())
    assert _names(rendered.items) == [("two", "10.96.0.2")]
    assert list(rendered.failed) == [ONE]
    mended = writer.write(store, ips, ())
    assert _names(mended.items) == [("one", "10.96.0.1"), ("two", "10.96.0.2")]
    assert not mended.failed


def test_of_secrets_no_more_is_told_than_tls_reads() -> None:
    text = secret("app", password="hidden") + secret("mixed", tls_crt="a", tls_key="b", password="hidden")
    told = ListWriter().write(_store(text), {}, ()).items
    (mixed,) = msgspec.json.decode(told)
    assert mixed["metadata"]["name"] == "mixed"
    assert sorted(mixed["data"]) == ["tls.crt", "tls.key"]
    assert "stringData" not in mixed or not mixed["stringData"]


def test_an_authority_whose_keys_are_misspelt_is_told_so_that_somebody_says_it() -> None:
    text = secret("cacerts", "istio-system", ca_cert_pem="a")
    (told,) = msgspec.json.decode(ListWriter().write(_store(text), {}, ()).items)
    assert told["data"] == {}
