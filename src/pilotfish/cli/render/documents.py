"""Values → JSON or YAML, with every field present, so that scripts need not know the defaults."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Literal

import msgspec

Format = Literal["json", "yaml"]


def render_document(value: object, form: Format) -> str:
    """`value` is made of views, dicts, lists and scalars. JSON as kubectl writes it: four spaces of indentation."""
    found = plain(value)
    if form == "json":
        return json.dumps(found, indent=4, ensure_ascii=False) + "\n"
    import yaml  # here, because only `-o yaml` needs it

    return yaml.dump(found, Dumper=_dumper(yaml), sort_keys=False, allow_unicode=True, width=1_000_000)


def as_list(documents: Iterable[object]) -> dict[str, object]:
    """Kubernetes' `List`, which kubectl prints for several objects."""
    return {"apiVersion": "v1", "items": list(documents), "kind": "List", "metadata": {"resourceVersion": ""}}


def plain(value: object) -> object:
    """Of dicts, lists and scalars alone."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def _dumper(yaml: object) -> object:
    """Text of several lines as a block, as a person would write it."""
    base = getattr(yaml, "CSafeDumper", None) or yaml.SafeDumper  # type: ignore[attr-defined]

    class Dumper(base):  # type: ignore[misc, valid-type]
        def ignore_aliases(self, data: object) -> bool:
            return True

    def text(dumper: Dumper, data: str) -> object:
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

    Dumper.add_representer(str, text)
    return Dumper
