"""The base of every value that is read from, or written as, JSON or YAML."""

from __future__ import annotations

from typing import Any, dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class _FrozenMeta(msgspec.StructMeta):
    """msgspec inherits neither `kw_only` nor, for type checkers, `frozen`; here every subclass has both."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        defaults = {"frozen": True, "kw_only": True, "omit_defaults": True}
        return super().__new__(mcls, name, bases, namespace, **(defaults | options))


class Frozen(msgspec.Struct, metaclass=_FrozenMeta):
    """An immutable struct with keyword arguments; fields at their defaults are left out when it is written."""
