"""What makes one JSON document of another, as an API server wants to be told it.

Source: RFC 6902. What both have is not said; of a list whose items moved, no more than the items.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

import msgspec

Operation = dict[str, Any]


def build_patch(before: object, after: object) -> list[Operation]:
    """Applied in order to `before` it gives `after`."""
    return list(_differences(before, after, ""))


def _differences(before: object, after: object, path: str) -> Iterator[Operation]:
    if _is_same(before, after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _of_mappings(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(before, after, path)
    else:
        yield {"op": "replace", "path": path, "value": after}


def _of_mappings(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Operation]:
    for name in before:
        if name not in after:
            yield {"op": "remove", "path": _step(path, name)}
    for name, value in after.items():
        if name in before:
            yield from _differences(before[name], value, _step(path, name))
        else:
            yield {"op": "add", "path": _step(path, name), "value": value}


def _of_lists(before: list[Any], after: list[Any], path: str) -> Iterator[Operation]:
    """From the end, so that the numbers of what comes before still hold."""
    old, new = [_key(item) for item in before], [_key(item) for item in after]
    for tag, start, end, first, last in reversed(SequenceMatcher(None, old, new, autojunk=False).get_opcodes()):
        if tag == "equal":
            for offset in range(end - start):
                yield from _differences(before[start + offset], after[first + offset], f"{path}/{start + offset}")
            continue
        both = min(end - start, last - first)
        for index in reversed(range(start + both, end)):
            yield {"op": "remove", "path": f"{path}/{index}"}
        for offset in reversed(range(first + both, last)):
            yield {"op": "add", "path": f"{path}/{start + both}", "value": after[offset]}
        for offset in range(both):
            yield {"op": "replace", "path": f"{path}/{start + offset}", "value": after[first + offset]}


def _key(item: object) -> str:
    """What tells items of a list apart: their names, where they have some."""
    if isinstance(item, dict):
        for field in ("name", "mountPath", "containerPort"):
            if isinstance(name := item.get(field), str | int):
                return f"{field} {name}"
    return msgspec.json.encode(item, order="sorted").decode()


def _is_same(before: object, after: object) -> bool:
    """JSON's notion: 1 is not true, which in Python is equal."""
    return before is after or _canonical(before) == _canonical(after)


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _step(path: str, name: str) -> str:
    """Source: RFC 6901."""
    return f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
