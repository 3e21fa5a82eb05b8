"""Problems under codes, with columns, and what hides them."""

from __future__ import annotations

import pytest

from pilotfish.config import load
from pilotfish.model import Problem, Severity, Source
from pilotfish.model.kinds import DESTINATION_RULE, POD, VIRTUAL_SERVICE
from pilotfish.offline.findings import Level, Suppression, find, find_coded, unsuppressed
from pilotfish.offline.texts import Texts

SHOP = VIRTUAL_SERVICE.ref("vm", "shop")


def lost(field: str = "spec.http[0].route[0].destination.host") -> Problem:
    return Problem(SHOP, field, "UnknownHost", "there is none", Severity.WARNING, Source("a.yaml", 3))


def test_a_code_is_istios_where_it_means_the_same() -> None:
    (found,) = find_coded([lost()])
    assert (found.code, found.level) == ("IST0101", Level.ERROR)
    (found,) = find_coded([lost("spec.hosts[0]")])
    assert (found.code, found.level) == ("UnknownHost", Level.WARNING)
    rule = Problem(DESTINATION_RULE.ref("vm", "shop"), "spec.host", "UnknownHost", "there is none", Severity.WARNING)
    assert [each.code for each in find_coded([rule])] == ["IST0174"]
    assert [each.code for each in find([rule])] == ["UnknownHost"]


def test_an_unknown_field_is_a_failed_validation_only_where_the_object_is_not_used() -> None:
    pod = POD.ref("vm", "a")
    strict = Problem(SHOP, "spec.x", "UnknownField", "no such field")
    lenient = Problem(pod, "metadata.annotations", "UnknownField", "no such annotation", Severity.WARNING)
    assert [each.code for each in find_coded([strict, lenient])] == ["UnknownField", "IST0106"]


TEXT = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: vm}
spec:
  hosts: [a]
  http:
  - timeout: soon
    route:
    - destination: {host: b, "prot": 1}
"""


def test_each_is_at_its_line_and_column_in_order() -> None:
    problems = load(TEXT, "a.yaml").problems
    found = find((*reversed(problems), *problems), Texts({"a.yaml": TEXT}))
    assert [(str(each.problem.source), each.column) for each in found] == [("a.yaml:7", 5), ("a.yaml:9", 30)]
    assert {each.column for each in find(problems)} == {0}


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("IST0101=VirtualService shop.vm", True),
        ("IST0101=VirtualService shop", True),
        ("*=VirtualService *.vm", True),
        ("IST0101=* *", True),
        ("IST0174=VirtualService shop.vm", False),
        ("IST0101=Service shop.vm", False),
        ("IST0101=VirtualService shop.other", False),
    ],
)
def test_suppressions(text: str, hidden: bool) -> None:
    left = unsuppressed(find_coded([lost()]), [Suppression.parse(text)], lambda ref: "")
    assert (list(left) == []) is hidden


@pytest.mark.parametrize(("text", "hidden"), [("IST0101", True), ("IST1, IST0101", True), ("*", True), ("X", False)])
def test_an_annotation_hides_what_it_names(text: str, hidden: bool) -> None:
    assert (list(unsuppressed(find_coded([lost()]), (), lambda ref: text)) == []) is hidden


@pytest.mark.parametrize("text", ["", "IST0101", "IST0101=", "=Pod a", "IST0101=Pod"])
def test_what_is_no_suppression_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="CODE=KIND NAME"):
        Suppression.parse(text)
