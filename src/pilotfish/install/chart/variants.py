"""The objects of all answers → for each object, what it depends on, and what it then is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from functools import cache
from itertools import product
from typing import Final

from pilotfish.install.chart import tokens
from pilotfish.install.chart.emission import HIDDEN, NAMED, emit
from pilotfish.install.chart.stand_ins import QUESTIONS, Question, stand_in
from pilotfish.install.names import DEFAULT, VALUES, Object
from pilotfish.install.objects import build_objects
from pilotfish.model.kinds import NAMESPACE

Key = tuple[str, str]
"""Kind, and the name without its revision."""
Answers = frozenset[str]
"""The names of the questions that are answered by yes."""
_ALL: Final = frozenset(question.name for question in QUESTIONS)


def templates() -> Iterator[tuple[Key, str]]:
    """Of each object, in order."""
    for key in _built(_ALL):
        asked = [question for question in QUESTIONS if _matters(key, question)]
        yield key, _choose(key, asked, _ALL)


def _choose(key: Key, asked: list[Question], answers: Answers) -> str:
    if not asked:
        found = _built(answers).get(key)
        return f"---\n{found}" if found is not None else ""
    first, *rest = asked
    yes, no = _choose(key, rest, answers), _choose(key, rest, answers - {first.name})
    return "".join(f"{line}\n" for line in _joined(first.condition, yes.splitlines(), no.splitlines()))


def _joined(condition: str, yes: list[str], no: list[str]) -> list[str]:
    """What both have stands once, as long as no block begins in the one part and ends in the other."""
    keys, others = ([_without_revision(line) for line in lines] for lines in (yes, no))
    parts: list[str] = []
    for what, a, b, c, d in SequenceMatcher(None, keys, others, autojunk=False).get_opcodes():
        if what == "equal":
            parts += yes[a:b]
        elif _is_whole(yes[a:b]) and _is_whole(no[c:d]):
            parts += _either(condition, yes[a:b], no[c:d])
        else:
            return _either(condition, yes, no)
    return parts


def _either(condition: str, yes: list[str], no: list[str]) -> list[str]:
    if not yes:
        return [f"{{{{- if not {condition} }}}}", *no, "{{- end }}"]
    return [f"{{{{- if {condition} }}}}", *yes, *(["{{- else }}", *no] if no else []), "{{- end }}"]


def _is_whole(lines: list[str]) -> bool:
    """Each block that begins in it ends in it."""
    depth = 0
    for line in lines:
        word = line.removeprefix("{{- ").partition(" ")[0] if line.startswith("{{- ") else ""
        depth += (word in ("if", "with", "range")) - (word == "end")
        if depth < 0 or (word == "else" and not depth):
            return False
    return depth == 0


_PRINTED: Final = re.compile(r'\(printf "([^"]*)%s([^"]*)" \(include "pilotfish\.suffix" \.\)\)')


def _without_revision(text: str) -> str:
    """As Helm fills it in where there is none."""
    return _PRINTED.sub(r'"\1\2"', text).replace(HIDDEN, "").replace(NAMED, DEFAULT)


def _matters(key: Key, question: Question) -> bool:
    """Whether the object differs by the answer, whatever the other answers are that it may differ by."""
    others = [each.name for each in QUESTIONS if each is not question]
    return any(
        _built(frozenset(some)).get(key) != _built(frozenset(some) | {question.name}).get(key)
        for some in _subsets(others)
    )


def _subsets(names: list[str]) -> Iterator[tuple[str, ...]]:
    for taken in product((True, False), repeat=len(names)):
        yield tuple(name for name, is_taken in zip(names, taken, strict=True) if is_taken)


@cache
def _built(answers: Answers) -> Mapping[Key, str]:
    """The text of each object's template; without the namespace, which Helm makes."""
    values = stand_in({question.name: question.name in answers for question in QUESTIONS})
    found = {}
    for each in build_objects(values):
        if each["kind"] != NAMESPACE.name:
            name = each["metadata"]["name"].replace(tokens.SUFFIX, "")
            found[(each["kind"], name)] = emit(_without_values(each))
    return found


def _without_values(source: Object) -> Object:
    """Helm keeps them itself."""
    metadata = dict(source["metadata"])
    annotations = {key: text for key, text in metadata.pop("annotations", {}).items() if key != VALUES}
    return {**source, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}}
