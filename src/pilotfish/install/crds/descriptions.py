"""What stands in the docstrings of structs, and below their fields: the words of `kubectl explain`."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from types import ModuleType


def describe_struct(struct: type) -> str:
    """Its own docstring, or ""."""
    own = struct.__dict__.get("__doc__")
    return _one_line(own) if isinstance(own, str) else ""


def describe_field(struct: type, attribute: str) -> str:
    """What stands below the field, in the struct or in a base of it; "" where nothing does."""
    found = (_of_module(sys.modules[base.__module__]).get(base.__name__, {}) for base in struct.__mro__[:-1])
    return next((fields[attribute] for fields in found if attribute in fields), "")


@cache
def _of_module(module: ModuleType) -> Mapping[str, Mapping[str, str]]:
    """Class → field → the text below it. Nothing where the source is not at hand."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError):
        return {}
    return {node.name: _below_fields(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _below_fields(node: ast.ClassDef) -> Mapping[str, str]:
    found = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = _one_line(text)
    return found


def _one_line(text: str) -> str:
    """Paragraphs stay."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))
