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
        "(?P<1>a)",
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
def test_what_re2_takes_is_taken(pattern: str) -> None:
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
        "a" * 1025,
    ],
)
def test_what_re2_refuses_is_refused(pattern: str) -> None:
    assert find_fault(pattern)


def test_a_class_that_re2_does_not_know_is_named() -> None:
    assert find_fault(r"/\p{Nonsense}+") == r"RE2 says 'invalid character class range: \\p{Nonsense}'"


def test_what_is_right_and_too_large_for_envoy_is_refused() -> None:
    assert find_fault(r"\pL{27}") is None
    assert "Envoy takes 32768" in (find_fault(r"\pL{28}") or "")
    assert "too large" in (find_fault(r"\pL{400}") or "")
