from __future__ import annotations

from typing import Any

import pytest

from pilotfish.discovery.changed import changed_field


def _form(*matches: dict[str, Any], timeout: str = "1s", **metadata: str) -> dict[str, Any]:
    route = [{"match": [match], "timeout": timeout} for match in matches]
    return {"kind": "VirtualService", "metadata": metadata, "spec": {"hosts": ["web"], "http": route}}


A, B, C = {"uri": {"prefix": "/a"}}, {"uri": {"regex": "b"}}, {"uri": {"prefix": "/c"}}


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        (_form(A), _form(A), ""),
        (_form(A, generation="1"), _form(A, generation="2"), ""),
        (_form(A), _form(C), "spec.http[0].match[0].uri.prefix"),
        (_form(A), _form(B), "spec.http[0].match[0].uri"),
        (_form(A, C), _form(A, B), "spec.http[1].match[0].uri"),
        (_form(A), _form(A, B), "spec.http[1]"),
        (_form(A, B), _form(A), "spec.http"),
        (_form(A, C), _form(C, A), "spec.http"),
        (_form(A), _form(C, timeout="2s"), "spec.http[0]"),
        (_form(A), {**_form(A), "spec": {"http": _form(A)["spec"]["http"]}}, "spec"),
    ],
)
def test_the_smallest_part_that_holds_all_that_differs(
    before: dict[str, Any], after: dict[str, Any], field: str
) -> None:
    assert changed_field(before, after) == field
