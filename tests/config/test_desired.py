"""Whose an object is, what stays of what is broken, and which meshConfig holds."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pilotfish.config import load, load_mesh_config
from pilotfish.config.desired import DesiredState, update
from pilotfish.config.kubernetes import Service
from pilotfish.config.manifest import Loaded, WrittenMeshConfig
from pilotfish.model import Problem, Severity


def service(name: str, port: int | str = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n---\n"


def mesh_config(log: str) -> str:
    return (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"
        f'data: {{mesh: "accessLogFile: {log}"}}\n---\n'
    )


def operator(log: str) -> str:
    return (
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: o}\n"
        f"spec: {{meshConfig: {{accessLogFile: {log}}}}}\n---\n"
    )


BROKEN = service("a", "many")
NO_YAML = "a: [\n"


def read(state: DesiredState, **texts: str | Loaded | None) -> DesiredState:
    """Origins are named as files without their ending."""
    return update(state, {o: load(t, f"{o}.yaml") if isinstance(t, str) else t for o, t in texts.items()})


def follow(*steps: Mapping[str, str | None], state: DesiredState | None = None) -> DesiredState:
    state = state or DesiredState()
    for step in steps:
        state = read(state, **step)
    return state


def ports(state: DesiredState) -> dict[str, int]:
    """Of the Services that are in force."""
    resources = (manifest.resource for manifest in state.manifests.values())
    return {r.metadata.name: r.spec.ports[0].port for r in resources if isinstance(r, Service)}


def said(state: DesiredState, reason: str) -> list[str]:
    return [str(problem.source) for problem in state.problems if problem.reason == reason]


LAST_GOOD = {
    "what is broken keeps its last good form": ([{"x": service("a", 1)}, {"x": BROKEN}], {"a": 1}),
    "a slip harms no other object of its text": (
        [{"x": service("a", 1) + service("b", 1)}, {"x": BROKEN + service("b", 2)}],
        {"a": 1, "b": 2},
    ),
    "what never was good is not there": ([{"x": BROKEN}], {}),
    "what was good before it was broken twice": ([{"x": service("a", 1)}, {"x": BROKEN}, {"x": BROKEN}], {"a": 1}),
    "a text that is no YAML may still hold all": (
        [{"x": service("a", 1) + service("b", 1)}, {"x": NO_YAML}],
        {"a": 1, "b": 1},
    ),
    "a part that is no YAML may still hold what the rest lacks": (
        [{"x": service("a", 1) + service("b", 1)}, {"x": service("b", 2) + NO_YAML}],
        {"a": 1, "b": 2},
    ),
    "a text without it has let it go": ([{"x": service("a", 1)}, {"x": BROKEN}, {"x": service("b")}], {"b": 80}),
    "a file that is gone has let all go": ([{"x": service("a", 1)}, {"x": BROKEN}, {"x": None}], {}),
    "and comes anew without a past": ([{"x": service("a", 1)}, {"x": None}, {"x": BROKEN}], {}),
    "a file that was never there": ([{"x": None}], {}),
}


@pytest.mark.parametrize(("steps", "expected"), LAST_GOOD.values(), ids=LAST_GOOD)
def test_the_last_good_form(steps: list[Mapping[str, str | None]], expected: dict[str, int]) -> None:
    assert ports(follow(*steps)) == expected


def test_what_cannot_be_read_stays_and_is_said() -> None:
    problem = Problem(None, "", "Unreadable", "no permission")
    state = follow({"x": service("a")})
    state = read(state, x=Loaded.unread(problem))
    assert ports(state) == {"a": 80}
    assert state.problems == (problem,)
    assert follow({"x": service("a")}, state=state).problems == ()


DUPLICATES = {
    "the first that came keeps it": ([{"x": service("a", 1)}, {"y": service("a", 2)}], {"a": 1}, ["y.yaml:1"]),
    "of those that come together the first": ([{"x": service("a", 1), "y": service("a", 2)}], {"a": 1}, ["y.yaml:1"]),
    "not the one that was there before but holds it later": (
        [{"x": service("b"), "y": service("a", 2)}, {"x": service("b") + service("a", 1)}],
        {"a": 2, "b": 80},
        ["x.yaml:6"],
    ),
    "its keeper may change it": (
        [{"x": service("a", 1)}, {"y": service("a", 2)}, {"x": service("a", 3)}],
        {"a": 3},
        ["y.yaml:1"],
    ),
    "a broken form is kept, too": (
        [{"x": service("a", 1)}, {"y": service("a", 2)}, {"x": BROKEN}],
        {"a": 1},
        ["y.yaml:1"],
    ),
    "when it lets go the next one has it": (
        [{"x": service("a", 1)}, {"y": service("a", 2)}, {"x": service("b")}],
        {"a": 2, "b": 80},
        [],
    ),
    "when its file is gone, too": ([{"x": service("a", 1)}, {"y": service("a", 2)}, {"x": None}], {"a": 2}, []),
    "moved from one to the other at once": (
        [{"x": service("a", 1)}, {"x": service("b"), "y": service("a", 2)}],
        {"a": 2, "b": 80},
        [],
    ),
    "a third one waits": (
        [{"x": service("a", 1), "y": service("a", 2), "z": service("a", 3)}, {"x": None}],
        {"a": 2},
        ["z.yaml:1"],
    ),
    "the duplicate is removed": ([{"x": service("a", 1), "y": service("a", 2)}, {"y": ""}], {"a": 1}, []),
}


@pytest.mark.parametrize(("steps", "expected", "problems"), DUPLICATES.values(), ids=DUPLICATES)
def test_duplicates(steps: list[Mapping[str, str | None]], expected: dict[str, int], problems: list[str]) -> None:
    state = follow(*steps)
    assert ports(state) == expected
    assert said(state, "DuplicateObject") == problems


def test_a_duplicate_names_the_object_and_where_the_other_one_stands_now() -> None:
    state = follow({"x": service("a"), "y": service("a")}, {"x": service("b") + service("a")})
    (problem,) = state.problems
    assert str(problem.ref) == "Service default/a"
    assert "x.yaml:6" in problem.message


def test_what_the_news_do_not_touch_is_the_same_object() -> None:
    state = follow({"x": service("a"), "y": service("b")})
    after = follow({"x": service("a", 2)}, state=state)
    changed = {ref.name for ref in after.manifests if after.manifests[ref] is not state.manifests[ref]}
    assert changed == {"a"}
    assert {ref.name: origin for ref, origin in after.keepers.items()} == {"a": "x", "b": "y"}


MESH_CONFIGS = {
    "none": ([], "", []),
    "the only one": ([{"x": service("a")}, {"y": mesh_config("/1")}], "/1", []),
    "the first one": ([{"x": mesh_config("/1")}, {"y": operator("/2")}], "/1", ["y.yaml:4"]),
    "two that say the same": ([{"x": mesh_config("/1"), "y": operator("/1")}], "/1", []),
    "the other one once the first is gone": (
        [{"x": operator("/1"), "y": operator("/2")}, {"x": ""}],
        "/2",
        [],
    ),
    "two in one text": ([{"x": operator("/1") + mesh_config("/2")}], "/1", ["x.yaml:9"]),
    "the last good one of a broken ConfigMap": ([{"x": mesh_config("/1")}, {"x": mesh_config("[")}], "/1", []),
    "the last good one of a broken IstioOperator": ([{"x": operator("/1")}, {"x": operator("[]")}], "/1", []),
    "the last good one of an unreadable text": ([{"x": operator("/1")}, {"x": NO_YAML}], "/1", []),
    "another slip in the text that it vanished from": ([{"x": operator("/1")}, {"x": BROKEN}], "", []),
    "none again": ([{"x": operator("/1")}, {"x": service("a")}], "", []),
}


@pytest.mark.parametrize(("steps", "log", "problems"), MESH_CONFIGS.values(), ids=MESH_CONFIGS)
def test_the_mesh_config(steps: list[Mapping[str, str | None]], log: str, problems: list[str]) -> None:
    state = follow(*steps)
    assert state.mesh_config.access_log_file == log
    assert said(state, "DuplicateMeshConfig") == problems


def written(log: str) -> Loaded:
    config, _ = load_mesh_config(f"accessLogFile: {log}", "named")
    assert config is not None
    return Loaded(mesh_config=WrittenMeshConfig(config))


def test_a_preferred_mesh_config_goes_before_others_and_they_are_told() -> None:
    state = follow({"x": mesh_config("/x")}, state=DesiredState(preferred=("named", "applied")))
    assert state.problems == ()
    state = read(state, applied=written("/applied"))
    assert state.mesh_config.access_log_file == "/applied"
    assert [(p.severity, str(p.source)) for p in state.problems] == [(Severity.WARNING, "x.yaml:4")]
    state = read(state, named=written("/named"))
    assert state.mesh_config.access_log_file == "/named"
    state = read(state, named=None, applied=None)
    assert (state.mesh_config.access_log_file, state.problems) == ("/x", ())


def test_the_highest_version_of_the_lists() -> None:
    state = DesiredState()
    for origin, version in (("x", "7"), ("y", "12"), ("z", "9" * 5000), ("u", "abc")):
        state = update(state, {origin: Loaded(resource_version=version)})
    assert state.resource_version == 12
