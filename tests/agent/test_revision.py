"""The number of a bootstrap."""

import pytest

from pilotfish.agent.revision import choose_revision, latest_revision, revision_name


@pytest.mark.parametrize(
    ("latest", "content", "number"), [(None, None, 0), (3, b"same", 3), (3, b"other", 4), (3, None, 4)]
)
def test_choose(latest: int | None, content: bytes | None, number: int) -> None:
    assert choose_revision(latest, content, b"same") == number


def test_latest() -> None:
    assert latest_revision([]) is None
    assert latest_revision(["envoy-rev0.json", "envoy-rev10.json", "envoy-rev2.json", "envoy-rev99.json.old"]) == 10
    assert latest_revision([revision_name(4), "x"]) == 4
