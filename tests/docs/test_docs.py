"""What the documents say is what the code does: commands parse, fields are those that are decoded, examples load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pilotfish.cli.app import ALIASES, COMMANDS
from pilotfish.cli.app import pilotfish as program
from pilotfish.config.loading import load
from pilotfish.model import Severity
from tests.docs.shell import blocks, commands, mentions

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md")))
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@every_document
def test_every_command_line_parses(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(document.parent if "examples" in document.parts else ROOT)
    text = document.read_text()
    wrong = [*filter(None, map(refusal, commands(text)))]
    wrong += filter(None, (refusal(words, complete=False) for words in mentions(text)))
    assert wrong == []


def refusal(words: list[str], complete: bool = True) -> str:
    """Why the command line does not take these words; "" if it does."""
    try:
        parse(words)
    except click.exceptions.Exit:
        return ""  # --help
    except click.MissingParameter as error:
        return f"pilotfish {' '.join(words)}: {error.format_message()}" if complete else ""
    except click.ClickException as error:
        return f"pilotfish {' '.join(words)}: {error.format_message()}"
    return ""


def parse(words: list[str]) -> None:
    """As the command line does it, without running anything. Raises click.ClickException for what it refuses."""
    context = program.make_context("pilotfish", list(words))
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, rest)
        if command is None:
            raise click.UsageError(f"no command {name}")
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gett", "pods"], "No such command 'gett'"),
        (["get", "pods", "--wider"], "No such option"),
        (["rollout", "halt", "deploy/x"], "No such command 'halt'"),
        (["scale", "deploy/x"], "Missing option '--replicas'"),
    ],
)
def test_a_wrong_command_line_is_found(words: list[str], message: str) -> None:
    assert message in refusal(words)


def test_every_command_is_described() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    used = {ALIASES.get(words[0], words[0]) for words in commands(text) if words}
    assert used >= COMMANDS.keys()


def examples() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        for block in blocks(document.read_text()):
            if block.word == "yaml" and "apiVersion" in block.body and "bad" not in block.info.split():
                yield f"{document.name}", block.body


@pytest.mark.parametrize(("document", "text"), tuple(examples()))
def test_every_example_loads(document: str, text: str) -> None:
    loaded = load(text, document)
    assert loaded.manifests or loaded.mesh_config
    assert [str(p) for p in loaded.problems if p.severity is not Severity.INFO] == []


@every_document
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for path, anchor in _LINK.findall(document.read_text()):
        target = document.parent / path if path else document
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if target.suffix == ".md" else []
        if not target.exists() or (anchor and anchor not in map(_anchor, headings)):
            broken.append(f"{path}#{anchor}" if anchor else path)
    assert broken == []


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
