"""What a plain YAML scalar means: the rules that Kubernetes reads manifests by.

YAML 1.1 for truth values and numbers, so `yes` is true and `0644` is octal; but no dates and no sexagesimal numbers,
so `2026-01-01` and `22:22` are text. Source: https://github.com/kubernetes-sigs/yaml and go-yaml v2, `resolve.go`.
"""

from __future__ import annotations

import re

STRING = "tag:yaml.org,2002:str"
INTEGER = "tag:yaml.org,2002:int"
FLOAT = "tag:yaml.org,2002:float"
BOOLEAN = "tag:yaml.org,2002:bool"
NULL = "tag:yaml.org,2002:null"
MERGE = "tag:yaml.org,2002:merge"
BINARY = "tag:yaml.org,2002:binary"

_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_SPECIAL = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
_TRUE = ("true", "yes", "on")
_FALSE = ("false", "no", "off")
_LONGEST_NUMBER = 40


def _spellings(*words: str) -> list[str]:
    return [spelling for word in words for spelling in (word, word.capitalize(), word.upper())]


_WORDS = {
    **dict.fromkeys(_spellings(*_TRUE, *_FALSE), BOOLEAN),
    **dict.fromkeys(["", "~", *_spellings("null")], NULL),
    **dict.fromkeys([s for w in _SPECIAL for s in (w, w.upper())], FLOAT),
    "<<": MERGE,
}
_NUMBER_STARTS = frozenset("+-.0123456789")


def tag_of(text: str) -> str:
    """The tag of a plain (unquoted) scalar."""
    word = _WORDS.get(text)
    if word is not None:
        return word
    if text[0] not in _NUMBER_STARTS or len(text) > _LONGEST_NUMBER:
        return STRING
    if _INTEGER.fullmatch(text):
        return INTEGER
    return FLOAT if _FLOAT.fullmatch(text) else STRING


def parse_scalar(tag: str, text: str) -> str | int | float | bool | None:
    """The value of a scalar. Raises ValueError where the text does not fit the tag, or the tag is not a scalar's."""
    if tag in (STRING, BINARY, MERGE):
        return text
    if tag == NULL:
        return None
    if tag == INTEGER:
        return _integer(text)
    if tag == FLOAT:
        return float(_SPECIAL.get(text.lower(), text.replace("_", "")))
    if tag == BOOLEAN and text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise ValueError(f"{text!r} is not a value of the type {tag}")


def _integer(text: str) -> int | float:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("the number is too long")
    digits = text.replace("_", "")
    if _OCTAL.fullmatch(digits):
        return _within_64_bits(int(digits, 8))
    if digits.lstrip("+-").startswith("0"):
        try:
            return _within_64_bits(int(digits, 0))
        except ValueError:
            return float(digits)
    return whole_number(digits)


def whole_number(digits: str) -> int | float:
    """In decimal digits. What 64 bits don't hold becomes a float, as in Kubernetes, whose JSON has no other numbers."""
    return _within_64_bits(int(digits))


def _within_64_bits(number: int) -> int | float:
    return number if -(2**63) <= number < 2**64 else float(number)
