"""docs/explain.md: its text and its picture are what the command prints now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pilotfish.cli.app import pilotfish

ROOT = Path(__file__).parents[2]
DOCUMENT, PICTURE = ROOT / "docs" / "explain.md", ROOT / "docs" / "explain.svg"
ASKED = ("explain", "deploy/shop.shop", "http://catalog/", "-f", "examples/shop")
_SHOWN = re.compile(rf"(?<=\$ pilotfish {re.escape(' '.join(ASKED))}\n).*?(?=```)", re.DOTALL)


@pytest.fixture
def explain(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(ROOT)
    return CliRunner()


def test_the_text_is_up_to_date(explain: CliRunner, request: pytest.FixtureRequest) -> None:
    text, printed = DOCUMENT.read_text(), explain.invoke(pilotfish, ASKED).stdout
    shown = _SHOWN.search(text)
    assert shown is not None, "the command is gone"
    if request.config.getoption("--update-docs", default=False):
        DOCUMENT.write_text(text[: shown.start()] + printed + text[shown.end() :])
        return
    assert shown[0] == printed, "run: pytest tests/docs --update-docs"


def test_the_picture_is_up_to_date(explain: CliRunner, request: pytest.FixtureRequest) -> None:
    drawn = explain.invoke(pilotfish, (*ASKED, "-o", "svg")).stdout
    assert drawn.startswith("<svg ")
    if request.config.getoption("--update-docs", default=False):
        PICTURE.write_text(drawn)
        return
    assert PICTURE.read_text() == drawn, "run: pytest tests/docs --update-docs"
