"""Values: what is said of them in files and by --set, and every mistake in it."""

from __future__ import annotations

import json

import pytest

from pilotfish.install.settings import read_values
from pilotfish.install.values import Values, chosen


def _problems(text: str, *settings: str) -> list[str]:
    read = read_values([("v.yaml", text)] if text else (), settings)
    assert (read.values is None) == any(problem.severity == "error" for problem in read.problems)
    return [str(problem) for problem in read.problems]


def _values(text: str, *settings: str) -> Values:
    read = read_values([("v.yaml", text)], settings)
    assert read.problems == ()
    assert read.values is not None
    return read.values


def test_where_nothing_is_said_the_defaults_hold() -> None:
    assert read_values().values == Values()


def test_a_later_file_goes_before_an_earlier_one_and_set_before_both() -> None:
    one = "discovery: {autoscale: {min: 3, max: 7}}\nhub: a\n"
    other = "discovery: {autoscale: {min: 4}}\n"
    read = read_values([("1.yaml", one), ("2.yaml", other)], ["discovery.autoscale.min=6"])
    assert read.values is not None
    assert (read.values.discovery.autoscale.min, read.values.discovery.autoscale.max, read.values.hub) == (6, 7, "a")


def test_what_is_not_said_of_a_part_stays_that_parts_own() -> None:
    chosen = _values("", "gateway.autoscale.enabled=false", "discovery.resources.limits.cpu=2")
    assert chosen.gateway.autoscale.min == Values().gateway.autoscale.min != Values().discovery.autoscale.min
    assert chosen.discovery.resources.limits == {**Values().discovery.resources.limits, "cpu": 2}


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ("tag=1.10", "tag", "1.10"),
        ("tag=2026", "tag", "2026"),
        ("crds=false", "crds", False),
        ("pullSecrets={a,b}", "pull_secrets", ("a", "b")),
        (
            "meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY",
            "mesh_config",
            {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}},
        ),
        ("meshConfig.defaultConfig.concurrency=2", "mesh_config", {"defaultConfig": {"concurrency": 2}}),
        ("cni=null", "cni", Values().cni),
    ],
)
def test_set_takes_what_the_field_takes(setting: str, field: str, value: object) -> None:
    assert getattr(_values("cni: {enabled: true}\n" if "null" in setting else "", setting), field) == value


def test_what_was_chosen_is_all_that_is_kept_of_values() -> None:
    settings = ("discovery.resources.limits.memory=null", "cni.enabled=true", "meshConfig.trustDomain=a")
    values = _values("", *settings)
    assert values.discovery.resources.limits == {}
    kept = chosen(values)
    assert kept == {
        "discovery": {"resources": {"limits": {"memory": None}}},
        "cni": {"enabled": True},
        "meshConfig": {"trustDomain": "a"},
    }
    assert read_values([("kept", json.dumps(kept))]).values == values


def test_a_dot_in_a_name_is_escaped() -> None:
    chosen = _values("", r"gateway.annotations.service\.example\.com/type=nlb")
    assert chosen.gateway.annotations == {"service.example.com/type": "nlb"}


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        ("revison: a\n", (), "v.yaml:1: error: revison: there is no such field"),
        ("revison: a\n", (), "so nothing is installed; did you mean 'revision'?"),
        ("hub: 1.2\n", (), "v.yaml:1: error: hub: 1.2 is read as a number, and text is wanted; quote it"),
        ("a: [\n", (), "v.yaml:"),
        ("a: 1\n---\nb: 1\n", (), "a file of values is one document"),
        ("- a\n", (), "v.yaml:1: error: a mapping of fields is wanted here"),
        ("meshConfig:\n  acessLogFile: a\n", (), "v.yaml:2: error: meshConfig.acessLogFile: there is no such field"),
        ("meshConfig: {trustDomain: '*'}\n", (), "meshConfig.trustDomain"),
        ("", ("a.b=c",), "error: a: there is no such field, so nothing is installed"),
        ("", ("tag",), "'tag' is none, so nothing is installed; write --set FIELD=VALUE"),
        ("", ("pullSecrets[0]=a",), "--set sets whole lists"),
        ("", ("discovery.autoscale.min=many",), "discovery.autoscale.min: a whole number is wanted"),
        ("", ("discovery.autoscale.min=9",), "discovery.autoscale.max: 5 is less than min, which is 9"),
        ("", ("discovery.autoscale.min=0",), "discovery.autoscale.min"),
        ("", ("revision=A_b",), "revision: 'A_b' is no name"),
        ("", ("revision=default",), "revision: 'default' has a meaning of its own"),
        ("", ("revision=tag-a",), "revision: 'tag-a' has a meaning of its own"),
        ("", ("namespace=mesh",), "namespace: a mesh of this release is installed in istio-system"),
        ("", ("tag=a b",), "tag: 'a b' is no tag of an image"),
        ("", ("proxy.resources.limits.memory=1 GB",), "proxy.resources.limits.memory: '1 GB' is no quantity"),
        ("", ("gateway.type=Outside",), "gateway.type: 'Outside' is no value of this field"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_remedy(text: str, settings: tuple[str, ...], expected: str) -> None:
    assert any(expected in problem for problem in _problems(text, *settings)), _problems(text, *settings)
