"""Documents changed in the three ways in which an API server takes a patch.

document, patch ─merge | strategic | json_patch─▶ another document
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

Document = dict[str, Any]


class BadPatch(ValueError):
    """It is none, or does not fit the document."""


def patch(document: Mapping[str, object], change: object, how: str) -> Document:
    """`how`: `merge`, `strategic`, `json`, or `replace` for a whole document. Raises BadPatch."""
    if how == "json":
        return _whole(json_patch(copy.deepcopy(dict(document)), change))
    if not isinstance(change, Mapping):
        raise BadPatch("a patch is a mapping, as in {spec: {replicas: 2}}; a list is one of --type json")
    if how == "merge":
        return _whole(merge(document, change))
    if how == "strategic":
        return _whole(strategic(document, change))
    raise BadPatch(f"{how} is no way to patch; use merge, strategic or json")


def _whole(value: object) -> Document:
    if not isinstance(value, dict):
        raise BadPatch("what it comes to is no object")
    return value


def merge(value: object, change: object) -> object:
    """Null removes, mappings are merged, all else is put in place. Source: RFC 7386."""
    if not isinstance(change, Mapping):
        return change
    found = dict(value) if isinstance(value, Mapping) else {}
    for name, item in change.items():
        if item is None:
            found.pop(name, None)
        else:
            found[name] = merge(found.get(name), item)
    return found


_MERGED_BY: Final = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "volumeMounts": ("mountPath",),
    "hostAliases": ("ip",),
    "conditions": ("type",),
    "ports": ("containerPort", "port"),
}
"""Lists whose items are merged, by the field that tells them apart. Source: patchMergeKey in k8s.io/api"""
_DIRECTIVE, _RETAIN = "$patch", "$retainKeys"
_ORDER, _REMOVE = "$setElementOrder/", "$deleteFromPrimitiveList/"


def strategic(value: object, change: object, name: str = "") -> object:
    """As `merge`, but for the lists of Kubernetes' own kinds that are merged by a key.

    Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
    """
    if isinstance(change, list) and name in _MERGED_BY and all(isinstance(item, Mapping) for item in change):
        return _merge_list(value if isinstance(value, list) else [], change, _MERGED_BY[name])
    if not isinstance(change, Mapping):
        return change
    found = dict(value) if isinstance(value, Mapping) and change.get(_DIRECTIVE) != "replace" else {}
    if _RETAIN in change:
        found = {key: item for key, item in found.items() if key in change[_RETAIN]}
    for key, item in change.items():
        if key.startswith(_REMOVE):
            listed = key.removeprefix(_REMOVE)
            found[listed] = [each for each in found.get(listed) or () if each not in item]
        elif key in (_DIRECTIVE, _RETAIN) or key.startswith(_ORDER):
            continue
        elif item is None:
            found.pop(key, None)
        else:
            found[key] = strategic(found.get(key), item, key)
    return found


def _merge_list(items: Sequence[Any], changes: Sequence[Mapping[str, Any]], keys: tuple[str, ...]) -> list[Any]:
    if any(set(change) == {_DIRECTIVE} and change[_DIRECTIVE] == "replace" for change in changes):
        return [change for change in changes if _DIRECTIVE not in change]
    found = list(items)
    for change in changes:
        key = next((each for each in keys if each in change), None)
        if key is None:
            raise BadPatch(f"an item of a list that is merged says which one it is by {' or '.join(keys)}")
        same = [i for i, each in enumerate(found) if isinstance(each, Mapping) and each.get(key) == change[key]]
        if change.get(_DIRECTIVE) == "delete":
            found = [each for i, each in enumerate(found) if i not in same]
        elif same:
            found[same[0]] = strategic(found[same[0]], change)
        else:
            found.append(strategic({}, change))
    return found


def json_patch(document: object, operations: object) -> object:
    """Source: RFC 6902. Changes `document`."""
    if not isinstance(operations, list):
        raise BadPatch("a JSON patch is a list, as in [{op: replace, path: /spec/replicas, value: 2}]")
    for operation in operations:
        if not isinstance(operation, Mapping):
            raise BadPatch(f"{operation!r} is no operation")
        document = _operate(document, operation)
    return document


def _operate(document: object, operation: Mapping[str, Any]) -> object:
    path = operation.get("path")
    match operation.get("op"):
        case "add" | "replace" as op:
            if "value" not in operation:
                raise BadPatch(f"{op} {path} says no value")
            if op == "replace":
                _find(document, path)
            return _put(document, path, operation["value"], insert=op == "add")
        case "remove":
            return _remove(document, path)
        case "test":
            if _find(document, path) != operation.get("value"):
                raise BadPatch(f"test {path}: it is not {operation.get('value')!r}")
            return document
        case "move":
            value = _find(document, operation.get("from"))
            return _put(_remove(document, operation.get("from")), path, value, insert=True)
        case "copy":
            return _put(document, path, copy.deepcopy(_find(document, operation.get("from"))), insert=True)
        case op:
            raise BadPatch(f"{op!r} is none of add, replace, remove, move, copy, test")


def _parts(path: object) -> list[str]:
    """Source: RFC 6901."""
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise BadPatch(f"{path!r} is no path; it begins with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _find(document: object, path: object) -> Any:
    value: Any = document
    for part in _parts(path):
        value = _step(value, part, path)
    return value


def _step(value: object, part: str, path: object) -> Any:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    raise BadPatch(f"there is nothing at {path}")


def _put(document: object, path: object, value: object, insert: bool) -> object:
    parts = _parts(path)
    if not parts:
        return value
    parent = _find(document, "/".join(("", *(p.replace("~", "~0").replace("/", "~1") for p in parts[:-1]))))
    last = parts[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and last == "-" and insert:
        parent.append(value)
    elif isinstance(parent, list) and last.isdecimal() and int(last) < len(parent) + insert:
        parent[int(last) : int(last) + (not insert)] = [value]
    else:
        raise BadPatch(f"nothing can be put at {path}")
    return document


def _remove(document: object, path: object) -> object:
    parts = _parts(path)
    if not parts:
        raise BadPatch("the whole object can't be removed by a patch; delete it")
    _find(document, path)
    parent = _find(document, "/".join(("", *(p.replace("~", "~0").replace("/", "~1") for p in parts[:-1]))))
    del parent[int(parts[-1]) if isinstance(parent, list) else parts[-1]]
    return document


def difference(before: Any, after: Any) -> Any:
    """The merge patch that makes one document of the other; {} if they are the same."""
    change: Document = {name: None for name in before if name not in after}
    for name, item in after.items():
        if name not in before:
            change[name] = item
        elif isinstance(item, dict) and isinstance(before[name], dict):
            if below := difference(before[name], item):
                change[name] = below
        elif item != before[name]:
            change[name] = item
    return change
