"""`-o` of commands that print objects, in all of kubectl's forms.

text ─parse_output─▶ Output ─┬─ a table: columns of the kind's own, or custom ones
                             └─ text: names, JSON, YAML, a JSONPath's
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from click.shell_completion import CompletionItem

from pilotfish.cli.render.documents import as_list, plain, render_document
from pilotfish.cli.render.table import NONE, Table, table

if TYPE_CHECKING:
    from pilotfish.cli.jsonpath import Path, Template

F = TypeVar("F", bound=Callable[..., Any])
Form = Literal["table", "wide", "json", "yaml", "name", "jsonpath", "custom-columns"]
_ALONE: tuple[Form, ...] = ("wide", "json", "yaml", "name")
_WITH_TEXT = ("jsonpath", "custom-columns", "jsonpath-file", "custom-columns-file")


@dataclass(frozen=True, slots=True)
class Output:
    form: Form = "table"
    template: Template | None = None
    columns: tuple[tuple[str, Path], ...] = ()
    """Header and path of each custom column."""

    @property
    def is_table(self) -> bool:
        """Rows of columns: one object's can be told from another's, and a watch prints each that changes."""
        return self.form in ("table", "wide", "custom-columns")

    @property
    def needs_documents(self) -> bool:
        return self.form not in ("table", "wide")

    def render(self, documents: Sequence[object], alone: bool) -> str:
        """JSON, YAML or a JSONPath's text. `alone`: one object that was asked for by its name is no List."""
        whole = documents[0] if alone and len(documents) == 1 else as_list(documents)
        if self.template is not None:
            return self.template.render(plain(whole))
        return render_document(whole, "yaml" if self.form == "yaml" else "json")

    def custom(self, documents: Iterable[object]) -> Table:
        from pilotfish.cli.jsonpath import show

        def cell(path: Path, document: object) -> str:
            return ",".join(map(show, path.find(document))) or NONE

        rows = [[cell(path, each) for _, path in self.columns] for each in map(plain, documents)]
        return table([header for header, _ in self.columns], rows)


TABLE = Output()


def parse_output(text: str | None) -> Output:
    """Raises click.BadParameter."""
    if text is None:
        return TABLE
    from pilotfish.cli import jsonpath  # here: a table alone needs none of it

    form, _, rest = text.partition("=")
    for each in _ALONE:
        if form == each and "=" not in text:
            return Output(each)
    if form.startswith("go-template"):
        raise click.BadParameter(f"{form} is not understood here: use jsonpath=TEMPLATE, which says the same")
    if form not in _WITH_TEXT or not rest:
        known = ", ".join((*_ALONE, "jsonpath=TEMPLATE", "custom-columns=HEADER:PATH,..."))
        raise click.BadParameter(f"{text!r} is none of {known}")
    if form.endswith("-file"):
        form, rest = form.removesuffix("-file"), _read(rest)
    try:
        if form == "jsonpath":
            return Output("jsonpath", jsonpath.parse(rest))
        return Output("custom-columns", columns=tuple(_columns(rest)))
    except jsonpath.BadPath as error:
        raise click.BadParameter(str(error)) from error


def _columns(text: str) -> Iterable[tuple[str, Path]]:
    """`NAME:.metadata.name,KIND:.kind`, or a file's line of headers above one of paths."""
    from pilotfish.cli.jsonpath import parse_path

    lines = text.split("\n")
    if len(lines) > 1 and lines[1].strip():
        pairs = list(zip(lines[0].split(), lines[1].split(), strict=False))
    else:
        pairs = [each.partition(":")[::2] for each in _split(text.strip())]
    for header, path in pairs:
        if not header or not path:
            raise click.BadParameter(f"{text!r} is no list of columns: each is HEADER:PATH")
        yield header, parse_path(path)


def _split(text: str) -> Iterable[str]:
    """At the commas that stand in no brackets."""
    depth, begun = 0, 0
    for at, char in enumerate(text):
        depth += (char in "[(") - (char in "])")
        if char == "," and depth == 0:
            yield text[begun:at]
            begun = at + 1
    yield text[begun:]


def _read(file: str) -> str:
    try:
        return File(file).read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{file} can't be read: {error}") from error


def objects_output_option(function: F) -> F:
    """`-o`, `--output`: as `output`, an Output."""
    return click.option(
        "-o",
        "--output",
        metavar="FORMAT",
        callback=lambda _ctx, _param, text: parse_output(text),
        shell_complete=_complete,
        help="wide, json, yaml, name, jsonpath=TEMPLATE, custom-columns=HEADER:PATH,...",
    )(function)


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    words = (*_ALONE, *(f"{each}=" for each in _WITH_TEXT))
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]
