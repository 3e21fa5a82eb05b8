"""Pods of a cluster, one folder of YAML for each case.

`CASE/in.yaml` holds pods, or what makes pods; a first document, `installation:`, may say what the mesh and the cluster
are (`mesh`, `values`). `out.yaml` is what they come to, `problems.yaml` what is said of them, if anything. A
new case is a new folder with an `in.yaml`, and one run of `pytest tests/inject --update-golden`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.config.report import Report
from pilotfish.config.workloads import template_path
from pilotfish.inject.documents import Circumstances, inject_object
from pilotfish.inject.pod import Installation, inject
from pilotfish.inject.values import parse_values
from pilotfish.model import Source
from pilotfish.model.kinds import POD, kind_written
from pilotfish.node.patching import json_patch

CASES = Path(__file__).parent / "pods"
NAMES = sorted(path.name for path in CASES.iterdir())


def read_case(name: str) -> tuple[Installation, list[dict[str, Any]]]:
    documents = list(yaml.safe_load_all((CASES / name / "in.yaml").read_text()))
    stated = documents.pop(0)["installation"] if "installation" in documents[0] else {}
    mesh, faults = load_mesh_config(yaml.safe_dump(stated.get("mesh", {})), "mesh.yaml")
    report = Report(None, "values.yaml")
    values = parse_values(yaml.safe_dump(stated.get("values", {})), report, "")
    assert mesh is not None, faults
    assert values is not None, report.problems
    return Installation(mesh, values), documents


def pods(name: str) -> Iterator[tuple[Installation, dict[str, Any]]]:
    """Each pod, or template of pods, of a case."""
    installation, documents = read_case(name)
    for document in (each for d in documents for each in d.get("items", [d])):
        kind = kind_written(document["kind"], document["apiVersion"])
        for step in template_path(kind) if kind is not POD else ():
            document = document[step]
        yield installation, document


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_is_injected_as_its_case_says(name: str, request: pytest.FixtureRequest) -> None:
    folder = CASES / name
    installation, documents = read_case(name)
    made, said = [], []
    for document in documents:
        found, problems = inject_object(document, Circumstances(installation), lambda _: Source("in.yaml", 1))
        made.append(found)
        said += [str(problem) for problem in problems]
    files = {"out.yaml": yaml.safe_dump_all(made, sort_keys=False, width=120)}
    if said:
        files["problems.yaml"] = yaml.safe_dump(said, width=120)
    if request.config.getoption("--update-golden", default=False):
        for file, text in files.items():
            (folder / file).write_text(text)
        for stray in {path.name for path in folder.iterdir()} - {"in.yaml", *files}:
            (folder / stray).unlink()
    assert {path.name for path in folder.iterdir()} == {"in.yaml", *files}
    for file, text in files.items():
        assert (folder / file).read_text() == text, f"{name}/{file} differs; --update-golden rewrites it"


@pytest.mark.parametrize("name", NAMES)
def test_the_patch_makes_the_pod_and_a_second_injection_changes_nothing(name: str) -> None:
    for installation, pod in pods(name):
        before = copy.deepcopy(pod)
        once = inject(pod, installation, namespace="shop")
        assert pod == before, "what was given is changed"
        assert json_patch(copy.deepcopy(pod), once.patch) == once.pod
        assert inject(once.pod, installation, namespace="shop").patch == []
