"""docs/capture.md: each example is what `capture render` and `capture trace` print. `--update-docs` rewrites them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pilotfish.capture.document import FIELDS
from pilotfish.capture.flags import FLAGS, SWITCHES
from pilotfish.cli.app import pilotfish

DOCUMENT = Path(__file__).parents[2] / "docs" / "capture.md"
_EXAMPLE = re.compile(r"```yaml\n(?P<config>.*?)```\n\n(?:```diff\n(?P<shown>.*?)```\n)?", re.DOTALL)
_CONSOLE = re.compile(r"```console\n\$ pilotfish (?P<command>capture trace [^\n]*)\n(?P<shown>.*?)```\n", re.DOTALL)


def print_of(*arguments: str, text: str = "") -> str:
    result = CliRunner().invoke(pilotfish, arguments, input=text)
    assert result.exit_code == 0, result.output
    return result.stdout


def rendered(config: str) -> list[str]:
    """Rules with their table before them, and policy routing; without the names of chains."""
    found, table = [], ""
    for line in print_of("capture", "render", "--config", "-", "--family", "4", text=config).splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-"):
            found.append(f"{table} {line}")
        elif line.startswith("# ip -"):
            found.append(line.removeprefix("# "))
    return found


def changes(base: list[str], changed: list[str]) -> Iterator[str]:
    matcher = SequenceMatcher(None, base, changed, autojunk=False)
    for operation, first, last, first_new, last_new in matcher.get_opcodes():
        if operation != "equal":
            yield from (f"-{line}" for line in base[first:last])
            yield from (f"+{line}" for line in changed[first_new:last_new])


def updated(text: str) -> str:
    """The document with each example as it is today. The first is what the others are compared with."""
    first = _EXAMPLE.search(text)
    assert first is not None
    base = first["config"]

    def example(found: re.Match[str]) -> str:
        config = found["config"]
        if found["shown"] is None:
            return found[0]
        merged = yaml.safe_dump({**yaml.safe_load(base), **yaml.safe_load(config)})
        lines = changes([] if config == base else rendered(base), rendered(merged))
        shown = "".join(f"{line}\n" for line in lines)
        return f"```yaml\n{config}```\n\n```diff\n{shown}```\n"

    def console(found: re.Match[str]) -> str:
        words = found["command"].replace("pod.yaml", "-").split()
        return f"```console\n$ pilotfish {found['command']}\n{print_of(*words, text=base)}```\n"

    return _CONSOLE.sub(console, _EXAMPLE.sub(example, text))


def test_examples_are_what_is_printed(request: pytest.FixtureRequest) -> None:
    text = DOCUMENT.read_text()
    if request.config.getoption("--update-docs", default=False):
        DOCUMENT.write_text(updated(text))
        return
    assert text == updated(text), "run: pytest tests/docs --update-docs"


def test_every_option_has_an_example() -> None:
    used = {name for found in _EXAMPLE.finditer(DOCUMENT.read_text()) for name in yaml.safe_load(found["config"])}
    assert used == FIELDS.keys()


def test_every_option_is_in_the_table_with_its_flag() -> None:
    text = DOCUMENT.read_text()
    rows = {found[1]: found[0] for found in re.finditer(r"^\| `(\w+)` \|.*$", text, re.MULTILINE)}
    assert rows.keys() == FIELDS.keys()
    for flag in FLAGS:
        letter = f"`-{flag.letter}`, " if flag.letter else ""
        assert f"{letter}`--{flag.name}`" in rows[flag.field]
    for switch in SWITCHES:
        assert f"`--{switch.name}`" in rows[switch.field]
