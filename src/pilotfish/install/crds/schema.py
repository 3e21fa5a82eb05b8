"""A struct → its structural OpenAPI schema, with every field that the API has.

A field that pilotfish has no struct for takes any value: whoever reads the object says what follows from its being left
out. A field that the API lacks is not there, so that the API server names it to whoever writes it.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec import inspect

from pilotfish.config.fields import BY_HAND, Unused, find_unused
from pilotfish.config.schema import api_fields
from pilotfish.config.values import IntOrString, Quantity
from pilotfish.install.crds.constraints import FIELDS, STRUCTS
from pilotfish.install.crds.descriptions import describe_field, describe_struct
from pilotfish.model import Duration, Severity

Schema = dict[str, Any]

ANYTHING: Final = {"x-kubernetes-preserve-unknown-fields": True}
_DURATION: Final = {
    "type": "string",
    "maxLength": 61,
    "pattern": r"^(0|[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)$",
}
"""As `Duration.parse` has it."""
_PLAIN: Final[dict[type, Schema]] = {
    inspect.StrType: {"type": "string"},
    inspect.IntType: {"type": "integer", "format": "int64"},
    inspect.FloatType: {"type": "number", "format": "double"},
    inspect.BoolType: {"type": "boolean"},
    inspect.AnyType: ANYTHING,
}
_CUSTOM: Final[dict[type, Schema]] = {
    Duration: _DURATION,
    IntOrString: {"x-kubernetes-int-or-string": True},
    Quantity: {"x-kubernetes-int-or-string": True},
}


def struct_schema(struct: type) -> Schema:
    info = inspect.type_info(struct)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{struct} is no struct")
    return _of_struct(info)


def _of_type(kind: inspect.Type) -> Schema:
    match kind:
        case inspect.StructType():
            return _of_struct(kind)
        case inspect.DictType():
            return {"type": "object", "additionalProperties": _of_type(kind.value_type)}
        case inspect.VarTupleType():
            return {"type": "array", "items": _of_type(kind.item_type)}
        case inspect.UnionType():
            return _of_type(next(each for each in kind.types if not isinstance(each, inspect.NoneType)))
        case inspect.LiteralType():
            return {"type": "string", "enum": list(kind.values)}
        case inspect.CustomType():
            return dict(_CUSTOM[kind.cls])
        case _:
            return dict(_PLAIN[type(kind)])


def _of_struct(info: inspect.StructType) -> Schema:
    fields = {field.encode_name: _of_field(info.cls, field) for field in info.fields}
    for name, unused in _unused(info.cls):
        same = fields.get(unused.instead, ANYTHING) if unused.alias else ANYTHING
        fields[name] = {**same, "description": _describe_unused(unused)}
    required = [field.encode_name for field in info.fields if field.required]
    described = describe_struct(info.cls)
    return {
        **({"description": described} if described else {}),
        "type": "object",
        **({"required": required} if required else {}),
        "properties": dict(sorted(fields.items())),
        **STRUCTS.get(info.cls, {}),
    }


def _of_field(struct: type, field: inspect.Field) -> Schema:
    """What stands below a field says more than what its struct is called."""
    schema = _of_type(field.type)
    described = describe_field(struct, field.name)
    return _merged(
        schema | ({"description": described} if described else {}), FIELDS.get((struct, field.encode_name), {})
    )


def _merged(schema: Schema, more: Schema) -> Schema:
    """With the constraints of the field, also those of its items."""
    merged = dict(schema)
    for name, value in more.items():
        held = merged.get(name)
        if isinstance(held, dict) and isinstance(value, dict):
            merged[name] = _merged(held, value)
        else:
            merged[name] = [*held, *value] if isinstance(held, list) and isinstance(value, list) else value
    return merged


def _unused(struct: type) -> Iterator[tuple[str, Unused]]:
    """The fields that the API has, or had, and the struct has not."""
    own = {field.encode_name for field in inspect.type_info(struct).fields}  # type: ignore[attr-defined]
    for name in sorted({*api_fields(struct), *BY_HAND.get(struct, {})} - own - {"*"}):
        unused = find_unused(struct, name)
        if unused is not None:
            yield name, unused


def _describe_unused(unused: Unused) -> str:
    if unused.alias:
        return f"Another spelling of {unused.instead}."
    if unused.severity is None:
        return "Takes no effect."
    heading = "Not supported" if unused.severity is Severity.ERROR else "Takes no effect"
    return f"{heading}: {unused.consequence}."
