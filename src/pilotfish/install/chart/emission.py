"""An object with tokens → the text of its template."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from pilotfish.install.chart import tokens

_ITEM: Final = "- "
HIDDEN: Final = '{{ include "pilotfish.suffix" . }}'
"""The end of a revision's names."""
NAMED: Final = '{{ .Values.revision | default "default" }}'
"""How a revision is called in labels."""
_HUB: Final = '{{ include "pilotfish.hub" . }}'


def emit(value: dict[str, Any]) -> str:
    return "".join(f"{line}\n" for line in _mapping(value, 0))


def _mapping(value: dict[str, Any], indent: int) -> Iterator[str]:
    for key, held in value.items():
        how, path = tokens.how(key)
        if how == "map":
            yield f"{{{{- with .Values.{path} }}}}"
            yield f"{{{{ toYaml . | indent {indent} }}}}"
            yield "{{- end }}"
        else:
            yield from _field(key, held, indent)


def _field(key: str, held: Any, indent: int) -> Iterator[str]:
    head = f"{' ' * indent}{key}:"
    how, path = _whole(held)
    match held:
        case _ if how:
            yield from _whole_field(head, how, path, held, indent)
        case dict() if held:
            yield head
            yield from _mapping(held, indent + 2)
        case list() | tuple() if held:
            yield head
            yield from _list(held, indent)
        case str() if "\n" in held:
            yield from _document(head, held, indent)
        case _:
            yield f"{head} {_scalar(held)}"


def _whole(held: Any) -> tuple[str, str]:
    """Of a field that is nothing but what the values hold."""
    match held:
        case str():
            how, path = tokens.how(held)
            return (how, path) if how == "optional" else ("", "")
        case dict() if len(held) == 1:
            how, path = tokens.how(next(iter(held)))
            return (how, path) if how == "map" else ("", "")
        case [{"name": str(name)}]:
            how, path = tokens.how(name)
            return ("names", path) if how == "list" else ("", "")
        case [str(item)] | (str(item),):
            how, path = tokens.how(item)
            return (how, path) if how == "list" else ("", "")
    return "", ""


def _whole_field(head: str, how: str, path: str, held: Any, indent: int) -> Iterator[str]:
    """Left out where the values hold nothing."""
    yield f"{{{{- with .Values.{path} }}}}"
    if how == "optional":
        yield f"{head} {{{{ . | quote }}}}"
    else:
        yield head
        if how == "names":
            yield "{{- range . }}"
            yield f"{' ' * indent}- name: {{{{ . | quote }}}}"
            yield "{{- end }}"
        else:
            yield f"{{{{ toYaml . | indent {indent if how == 'list' else indent + 2} }}}}"
    yield "{{- end }}"


def _list(held: Any, indent: int) -> Iterator[str]:
    for item in held:
        how, path = tokens.how(item)
        if how == "list":
            yield f"{{{{- with .Values.{path} }}}}"
            yield f"{{{{ toYaml . | indent {indent} }}}}"
            yield "{{- end }}"
        elif isinstance(item, dict) and item:
            first, *rest = _mapping(item, indent + 2)
            yield f"{' ' * indent}{_ITEM}{first[indent + 2 :]}"
            yield from rest
        else:
            yield f"{' ' * indent}{_ITEM}{_scalar(item)}"


def _document(head: str, text: str, indent: int) -> Iterator[str]:
    """YAML inside of a text. With an overlay, Helm merges and writes it."""
    inside = yaml.safe_load(text)
    overlays = [path for how, path in map(tokens.how, inside) if how == "overlay"]
    yield f"{head} |"
    if overlays:
        own = {key: held for key, held in inside.items() if tokens.how(key)[0] != "overlay"}
        merged = f"mustMergeOverwrite {_expression(own)} (deepCopy .Values.{overlays[0]})"
        yield f"{{{{ toYaml ({merged}) | indent {indent + 2} }}}}"
    else:
        yield from _mapping(inside, indent + 2)


def _expression(value: Any) -> str:
    """As a template's expression makes it."""
    if isinstance(value, dict):
        return f"(dict {' '.join(f'{json.dumps(key)} {_expression(held)}' for key, held in value.items())})"
    before, suffix, after = str(value).partition(tokens.SUFFIX)
    if suffix:
        return f'(printf {json.dumps(f"{before}%s{after}")} (include "pilotfish.suffix" .))'
    return json.dumps(value)


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    how, path = tokens.how(value)
    if how == "plain":
        return f"{{{{ .Values.{path} }}}}"
    quoted = json.dumps(value, ensure_ascii=False)
    return tokens.ALL.sub(_filled, quoted.replace(tokens.SUFFIX, HIDDEN).replace(tokens.HUB, _HUB))


def _filled(found: re.Match[str]) -> str:
    how, path = found[1], found[2]
    if how == "revision":
        return NAMED
    if how == "list":
        return f'{{{{ join "," .Values.{path} }}}}'
    return f"{{{{ .Values.{path} }}}}"
