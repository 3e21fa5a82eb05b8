"""What each kind is read into, against the fields that its API has."""

from __future__ import annotations

import json

import msgspec
import pytest

from pilotfish.config import load, load_mesh_config
from pilotfish.config.fields import BY_HAND
from pilotfish.config.kinds import STRUCTS
from pilotfish.config.schema import api_fields, by_struct, messages
from pilotfish.model import Kind, Severity
from pilotfish.model.kinds import KINDS, SUPPORTED

OLD = {
    "clusterName",
    "topology",
    "thriftConfig",
    "configSourcesWatch",
    "disableMixerHttpReports",
    "parentShutdownDuration",
}
"""Fields that the APIs had once."""
STATUSES = {"ServiceEntryStatus", "WorkloadEntryStatus", "WorkloadEntryCondition"}
"""Of Istio's kinds the specs alone are known."""
EVERY_STRUCT = sorted(by_struct(), key=str)


def test_each_supported_kind_has_a_struct_and_no_other_has() -> None:
    assert set(STRUCTS) == set(SUPPORTED)


@pytest.mark.parametrize("kind", SUPPORTED, ids=str)
def test_each_supported_kind_is_checked(kind: Kind) -> None:
    """A name that no kind may have is found by all."""
    object_ = {"apiVersion": kind.api_versions[0], "kind": kind.name, "metadata": {"name": "No Name"}}
    assert "metadata.name" in {problem.field for problem in load(json.dumps(object_), "-").problems}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.is_istio], ids=str)
def test_the_fields_of_all_of_istios_kinds_are_known(kind: Kind) -> None:
    assert {"metadata", "spec"} <= messages()[kind.qualified].keys()


@pytest.mark.parametrize("struct", EVERY_STRUCT, ids=lambda struct: struct.__qualname__)
def test_a_struct_has_no_field_that_the_api_lacks(struct: type[msgspec.Struct]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(struct)} <= api_fields(struct)


def test_consequences_are_stated_of_fields_that_there_are() -> None:
    tables = {struct: table for struct, table in BY_HAND.items() if struct.__name__ not in STATUSES}
    stated = {(struct, name) for struct, table in tables.items() for name in table if name != "*"}
    assert {name for struct, name in stated if name not in api_fields(struct)} == OLD


ROUTE = """\
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [a], http: [{%s}]}}
"""
RULE = """\
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a}, spec: {host: a, %s}}
"""
POD = """\
{apiVersion: v1, kind: Pod, metadata: {name: a},
 spec: {containers: [{name: a, command: [b]}], volumes: [{name: a, %s}]}}
"""
TO = "route: [{destination: {host: a}}]"


@pytest.mark.parametrize(
    ("text", "field", "nearest"),
    [
        (ROUTE % f"{TO}, timeuot: 1s", "spec.http[0].timeuot", "timeout"),
        (ROUTE % f"{TO}, zebra: 1s", "spec.http[0].zebra", ""),
        (ROUTE % f"{TO}, fualt: {{}}", "spec.http[0].fualt", "fault"),
        (RULE % "trafficPolicy: {loadBalancer: {warmUp: {}}}", "spec.trafficPolicy.loadBalancer.warmUp", "warmup"),
        (POD % "persistantVolumeClaim: {}", "spec.volumes[0].persistantVolumeClaim", "persistentVolumeClaim"),
    ],
)
def test_a_misspelt_field_is_named_with_its_nearest_also_where_that_is_not_supported(
    text: str, field: str, nearest: str
) -> None:
    problem = next(p for p in load(text, "-").problems if p.field == field)
    assert (problem.reason, problem.severity) == ("UnknownField", Severity.ERROR)
    assert f"did you mean {nearest!r}?" in problem.message if nearest else "did you mean" not in problem.message


@pytest.mark.parametrize(
    ("text", "field", "severity", "consequence"),
    [
        (
            ROUTE % f"{TO}, fault: {{abort: {{http2Error: INTERNAL}}}}",
            "spec.http[0].fault.abort.http2Error",
            Severity.ERROR,
            "refused whole",
        ),
        (POD % "emptyDir: {mode: 0700}", "spec.volumes[0].emptyDir.mode", Severity.WARNING, "it has no effect"),
        (POD % "rbd: {image: a}", "spec.volumes[0].rbd", Severity.WARNING, "an empty directory"),
    ],
)
def test_a_field_that_pilotfish_lacks_is_not_supported_and_the_consequence_is_said(
    text: str, field: str, severity: Severity, consequence: str
) -> None:
    problem = next(p for p in load(text, "-").problems if p.field == field)
    assert (problem.reason, problem.severity) == ("UnsupportedField", severity)
    assert consequence in problem.message


def test_what_says_no_more_than_nothing_is_not_reported() -> None:
    text = ROUTE.replace("hosts", "tcp: [], tls: [], hosts").replace("spec", "status: {conditions: []}, spec")
    assert load(text % TO, "-").problems == ()


def test_the_mesh_configuration_is_read_by_the_same_rule() -> None:
    _, problems = load_mesh_config("ca: {address: a}\nacessLogFile: /dev/stdout\n", "-")
    found = {problem.field: (problem.reason, problem.message) for problem in problems}
    assert found["ca"][0] == "UnsupportedField"
    assert found["acessLogFile"][0] == "UnknownField"
    assert "did you mean 'accessLogFile'?" in found["acessLogFile"][1]
