"""examples/stories, block by block: the symptom, what explain and why say of it, and that the fix helps.

All in one mesh, though each is one of its own: they have namespaces of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docs.replay import calls, fits
from tests.e2e.harness import REPOSITORY
from tests.e2e.reader import Reader, reading

STORIES = REPOSITORY / "examples" / "stories"
NAMES = sorted(path.name for path in STORIES.iterdir() if path.is_dir())
PORTS = {"8080": "istio-ingressgateway.istio-system:80"}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reading(tmp_path_factory.mktemp("stories"), STORIES, "e2e-stories", PORTS) as found:
        published = f"--publish 8080:{PORTS['8080']}"
        found.run(f"pilotfish up {' '.join(NAMES)} --detach --mesh-config mesh-config.yaml {published}")
        found.learn_ports()
        yield found


@pytest.mark.parametrize("name", NAMES)
def test_each_block_does_what_it_says(reader: Reader, name: str) -> None:
    text = (STORIES / name / "README.md").read_text()
    assert f"cd examples/stories/{name}\npilotfish up . --detach --mesh-config ../mesh-config.yaml" in text
    told = [call for call in calls(text) if not call.command.startswith(("cd ", "pilotfish down"))]
    assert len(told) > 5
    for call in told:
        answer = reader.run(call.command, name)
        assert call.expected is None or fits(answer, call.expected), f"{call.command}\n{answer}"
