"""Resources → ResourceSet, one folder of YAML for each case.

`CASE/in.yaml` holds the user's documents; one more of them, `proxy:`, says who asks, and one, `mesh:`, may be the
meshConfig. Beside it stand `listeners.yaml`, `routes.yaml`, `clusters.yaml` and `endpoints.yaml`, each a mapping from
resource name to message, and `secrets.yaml`, if there are any, without what they hold; `lowered.yaml`, the neutral form
of what VirtualServices and DestinationRules say, and `problems.yaml`, if there are any. A new case is a new folder with
an `in.yaml`, and one run of `pytest tests/golden --update-golden`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import MessageToDict

from pilotfish.envoy.printing import to_json
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import SERVED, XdsType
from pilotfish.envoy.values import ResourceSet
from pilotfish.mesh.problems.across import problems
from tests.golden.cases import CASES, NAMES, read_case
from tests.golden.lowered import lowered

FILES = {f"{row.noun}s.yaml": row for row in SERVED}


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    folder = CASES / name
    made = render(folder / "in.yaml")
    if request.config.getoption("--update-golden", default=False):
        for file, text in made.items():
            (folder / file).write_text(text)
        for stray in {p.name for p in folder.iterdir()} - {"in.yaml", *made}:
            (folder / stray).unlink()
    assert {p.name for p in folder.iterdir()} == {"in.yaml", *made}, "a file is missing, or belongs to no case"
    for file, text in made.items():
        assert (folder / file).read_text() == text, f"{name}/{file} differs; --update-golden rewrites it"


def test_there_is_nothing_but_cases() -> None:
    files = {p.name for p in CASES.iterdir() if p.is_file()}
    assert files == {"cases.py", "lowered.py", "test_golden.py"}
    assert len(NAMES) >= 10


def render(path: Path) -> dict[str, str]:
    """What every output file is to hold."""
    proxy, graph, loaded = read_case(path)
    found = resource_set(graph, proxy)
    written = {file: _messages(found, kind) for file, kind in FILES.items()}
    made = {file: _dump(messages) for file, messages in written.items() if messages or not FILES[file].sensitive}
    reported = [str(p) for p in (*loaded, *graph.get(problems))]
    others = {"lowered.yaml": lowered(graph, proxy, found), "problems.yaml": reported}
    return made | {file: _dump(content) for file, content in others.items() if content}


def _messages(found: ResourceSet, kind: XdsType) -> dict[str, Any]:
    if kind.sensitive:
        return {r.name: to_json(r) for r in sorted(found.resources(kind.url), key=lambda r: r.name)}
    return {
        r.name: _ordered(MessageToDict(kind.message().FromString(r.body), preserving_proto_field_name=True))
        for r in sorted(found.resources(kind.url), key=lambda r: r.name)
    }


def _ordered(value: Any) -> Any:
    """Plain dicts, what names a thing first: a message's maps come in no order."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (key != "name", key))
        return {key: _ordered(value[key]) for key in keys}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def _dump(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=120)
