"""What is kept over a restart: there and back, and what is made of bytes that are something else."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from pilotfish.config import load
from pilotfish.config.manifest import Manifest
from pilotfish.discovery import memory
from pilotfish.discovery.memory import BrokenMemoryError, Remembered, decode, encode, merge
from pilotfish.discovery.rejection import Rejection
from pilotfish.envoy.types import ROUTE
from pilotfish.model import Source
from pilotfish.model.kinds import SERVICE, VIRTUAL_SERVICE

REJECTION = Rejection(
    ROUTE,
    "8000",
    "no match for (?=a)b",
    frozenset({"sidecar~10.0.0.1~web-0.vm~vm.svc.cluster.local"}),
    frozenset({SERVICE.ref("vm", "one"), VIRTUAL_SERVICE.ref("vm", "one")}),
)


def form(path: str, name: str = "one") -> Manifest:
    text = f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: vm, annotations: {{note: "a: b"}}}}
spec: {{hosts: [{name}], http: [{{match: [{{uri: {{prefix: {path}}}}}], route: [{{destination: {{host: {name}}}}}]}}]}}
"""
    (made,) = load(text, "mesh.yaml").manifests
    return made


def remembered(name: str = "one", good: Manifest | None = None) -> Remembered:
    refused = form("/poison", name)
    return Remembered(refused.ref, REJECTION, refused, good, "as of then")


def test_there_and_back() -> None:
    given = (remembered("one", form("/first")), remembered("two"))
    data, too_much = encode(given, "1")
    found = decode(data, "1")
    assert found == given
    assert too_much == ()
    assert found[0].last_good is not None
    assert found[0].last_good.source == Source("mesh.yaml", 2), "problems of the form in force name its place"


def test_what_another_version_of_the_program_saw_refused_is_offered_again() -> None:
    data, _ = encode((remembered(good=form("/first")),), "1")
    (found,) = decode(data, "2")
    assert found.refused is None
    assert found.last_good == form("/first"), "the form that worked is a fallback still"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff",
        b"{}",
        b"[]",
        b'{"madeBy": "1"}',
        b'{"madeBy": "1", "objects": [{"kind": "VirtualService"}]}',
        b'{"madeBy":' + b"[" * 100_000,
        encode((remembered(),), "1")[0][:-20],
    ],
)
def test_bytes_that_are_something_else(data: bytes) -> None:
    with pytest.raises(BrokenMemoryError):
        decode(data, "1")


def test_a_form_that_can_not_be_read_any_more_is_left_out() -> None:
    data, _ = encode((remembered(good=form("/first")),), "1")
    file = msgspec.json.decode(data)
    file["objects"][0]["lastGood"]["document"]["spec"]["http"] = "many"
    file["objects"][0]["refused"]["document"]["metadata"]["name"] = "another"
    (found,) = decode(msgspec.json.encode(file), "1")
    assert (found.ref, found.refused, found.last_good) == (remembered().ref, None, None)


def test_there_is_a_bound_and_what_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    given = tuple(remembered(f"n{number}", form("/first", f"n{number}")) for number in range(10))
    whole = len(encode(given, "1")[0])
    for bound in range(whole - 1, 0, -997):
        monkeypatch.setattr(memory, "LARGEST", max(bound, 100))
        data, too_much = encode(given, "1")
        assert len(data) <= max(bound, 100)
        assert [one.ref for one in decode(data, "1")] + list(too_much) == [one.ref for one in given]
        assert too_much
    monkeypatch.setattr(memory, "LARGEST", whole)
    assert encode(given, "1")[1] == ()


def test_a_long_message_is_cut() -> None:
    talkative = Rejection(ROUTE, "8000", "no " * 100_000, frozenset())
    data, _ = encode((Remembered(remembered().ref, talkative, None, None),), "1")
    assert len(data) < 10_000


ONE, TWO = remembered("one", form("/first")), remembered("two")
THERE = {one.ref: one.refused for one in (ONE, TWO) if one.refused is not None}
BY_ANOTHER = replace(REJECTION, proxies=frozenset({"another"}), message="in other words")


@pytest.mark.parametrize(
    ("mine", "others", "expected"),
    [
        ((ONE,), (), (ONE,)),
        ((), (ONE,), (ONE,)),
        ((TWO,), (ONE,), (ONE, TWO)),
        ((replace(ONE, last_good=None),), (ONE,), (ONE,)),
        ((replace(ONE, last_good=form("/other")),), (ONE,), (replace(ONE, last_good=form("/other")),)),
        # Its object is another by now, and is another's no longer.
        ((), (replace(ONE, refused=form("/before")),), ()),
        ((), (remembered("gone"),), ()),
        # A release before has seen it refused, and it has not been offered again yet.
        ((), (replace(ONE, refused=None),), ()),
        ((replace(ONE, refused=None),), (ONE,), (replace(ONE, refused=None),)),
    ],
)
def test_what_several_know(
    mine: tuple[Remembered, ...], others: tuple[Remembered, ...], expected: tuple[Remembered, ...]
) -> None:
    assert merge(mine, others, THERE) == expected


def test_that_others_refuse_it_too_is_no_news() -> None:
    others = (ONE, TWO)
    assert merge((replace(ONE, rejection=BY_ANOTHER),), others, THERE) is others
