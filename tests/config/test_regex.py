from __future__ import annotations

import pytest

from pilotfish.config.checks.regex import find_fault


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/v[0-9]+/.*",
        "(a|b)*",
        "(?i)abc",
        "a(?i:b)c",
        "x(?i)y",
        "(?P<name>a)(?<other>b)",
        r"\pN\p{Greek}\P{^Lu}",
        r"\Qa(b\E+",
        r"\Qopen(",
        "[[:alpha:]_]",
        "[]a]",
        "[^]a-]",
        "[a-]",
        r"[\w.-]+@\d{1,3}",
        "a{2,}?",
        "a*?b+?c??",
        "a{,5}{x",
        r"\.\/\x41\x{1F600}\0\123",
        r"^$\b\B\A\z",
        "()|",
        "ünïcode+",
        "^*",
    ],
)
def test_re2_takes(pattern: str) -> None:
    assert find_fault(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "?",
        "+a",
        "a|*",
        "(*)",
        "a++",
        "a**",
        "a*{2}",
        "(",
        ")",
        "(a",
        "a)",
        "[a",
        "[]",
        "[z-a]",
        "[\\",
        "a\\",
        r"\1",
        r"(a)\2",
        r"\y",
        r"\Z",
        r"[\y]",
        "(?=a)",
        "(?!a)",
        "(?<=a)",
        "(?>a)",
        "(?P=name)",
        "(?x)a",
        "a{1001}",
        "a{3,2}",
        "(?P<1>a)",
        "a" * 1025,
    ],
)
def test_re2_refuses(pattern: str) -> None:
    assert find_fault(pattern)
