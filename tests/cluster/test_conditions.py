"""What stands in an object's status, and what is written again."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.cluster.conditions import Told, Verdict, merge
from pilotfish.cluster.events import About, mended, warning
from pilotfish.cluster.ledger import BURST, PATIENCE, RATE, Ledger
from pilotfish.model import Problem, Severity
from pilotfish.model.kinds import VIRTUAL_SERVICE

REF = VIRTUAL_SERVICE.ref("vm", "calculator")
REFUSED = Problem(REF, "spec.http[0].route[1].weight", "RefusedByEnvoy", "Envoy refuses what follows from it")
ODD = Problem(REF, "spec.hosts[0]", "UnknownHost", "there is no such host", Severity.WARNING)
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def write(verdict: Verdict, status: dict[str, Any], time: str = EARLY, generation: int = 3) -> dict[str, Any]:
    wanted = merge(verdict, generation, status, time)
    assert wanted is not None
    return {**status, **wanted}


def condition(status: dict[str, Any], type: str) -> dict[str, Any]:
    (found,) = [each for each in status["conditions"] if each["type"] == type]
    return dict(found)


def test_what_is_refused_is_told_with_its_field_and_how_many_refuse_it() -> None:
    status = write(Verdict(3, (Told(REFUSED, 12), Told(ODD))), {})
    assert status["observedGeneration"] == 3
    reconciled = condition(status, "Reconciled")
    assert (reconciled["status"], reconciled["reason"]) == ("False", "RefusedByEnvoy")
    assert reconciled["message"].startswith("spec.http[0].route[1].weight: Envoy refuses")
    assert "12 proxies" in reconciled["message"]
    passed = condition(status, "PassedAnalysis")
    assert (passed["status"], passed["reason"]) == ("False", "errorsFound")
    assert "no such host" in passed["message"]
    assert status["validationMessages"] == [
        {"level": "ERROR", "type": {"name": "RefusedByEnvoy"}},
        {"level": "WARNING", "type": {"name": "UnknownHost"}},
    ]


def test_a_warning_keeps_nothing_out() -> None:
    status = write(Verdict(3, (Told(ODD),)), {})
    assert condition(status, "Reconciled")["status"] == "True"
    assert condition(status, "PassedAnalysis")["status"] == "True"
    assert condition(status, "PassedAnalysis")["reason"] == "warningsFound"


def test_what_stands_there_is_not_written_again_and_keeps_its_time() -> None:
    bad, good = Verdict(3, (Told(REFUSED, 2),)), Verdict(4)
    status = write(bad, {})
    assert merge(bad, 3, status, LATE) is None
    worse = write(Verdict(3, (Told(REFUSED, 5),)), status, LATE)
    assert condition(worse, "Reconciled")["lastTransitionTime"] == EARLY
    mended = write(good, worse, LATE)
    assert condition(mended, "Reconciled")["lastTransitionTime"] == LATE
    assert mended["validationMessages"] == []


def test_what_others_say_stays() -> None:
    theirs = {"type": "Waypoint", "status": "True"}
    status = write(Verdict(3), {"conditions": [theirs], "addresses": [{"value": "240.240.0.1"}]})
    assert theirs in status["conditions"]
    assert status["addresses"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(("conditions", "type", "status", "validationMessages", "observedGeneration")), x
            )
        ),
    )
)
def test_any_status_is_written_once(found: Any) -> None:
    status = found if isinstance(found, dict) else {}
    verdict = Verdict(0, (Told(REFUSED),))
    wanted = merge(verdict, 7, status, EARLY)
    assert wanted is not None
    assert merge(verdict, 7, {**status, **wanted}, LATE) is None


ABOUT = About(REF, "networking.istio.io/v1", "u-1", "9", 3)


def test_an_event_names_object_and_field_and_the_same_is_told_once() -> None:
    event = warning(ABOUT, Told(REFUSED, 3), "istiod-1", EARLY)
    assert event["involvedObject"]["name"] == "calculator"
    assert event["involvedObject"]["fieldPath"] == "spec.http[0].route[1].weight"
    assert event["metadata"]["namespace"] == "vm"
    assert event["message"].startswith("spec.http[0].route[1].weight: Envoy refuses")
    same = warning(ABOUT, Told(REFUSED, 9), "istiod-2", LATE)
    assert same["metadata"] == event["metadata"]
    later = warning(About(REF, "networking.istio.io/v1", "u-1", "9", 4), Told(REFUSED, 3), "istiod-1", LATE)
    assert later["metadata"]["name"] != event["metadata"]["name"]
    assert mended(ABOUT, "RefusedByEnvoy", "istiod-1", LATE)["type"] == "Normal"


def refs(number: int) -> list[Any]:
    return [VIRTUAL_SERVICE.ref("vm", f"v{n}") for n in range(number)]


def test_many_are_written_at_a_rate_and_what_is_refused_goes_first() -> None:
    ledger, many = Ledger(), refs(200)
    wanted = {ref: Verdict(1) for ref in many}
    wanted[many[-1]] = Verdict(1, (Told(REFUSED),))
    ledger.want(wanted)
    first = ledger.take(0.0)
    assert first is not None
    assert first[0] == many[-1]
    ledger.wrote(*first)
    now, at = 0.0, [0.0]
    while (wake := ledger.wake_at(now)) is not None:
        now = max(now, wake)
        while (found := ledger.take(now)) is not None:
            ledger.wrote(*found)
            at.append(now)
    assert len(at) == 200
    assert now >= (200 - BURST) / RATE - 0.2
    assert now <= (200 - BURST) / RATE + 0.2
    assert ledger.take(now + 100) is None


def test_what_is_the_same_is_not_written_again() -> None:
    ledger, (ref,) = Ledger(), refs(1)
    ledger.want({ref: Verdict(1)})
    found = ledger.take(0.0)
    assert found is not None
    assert ledger.wrote(*found) is None
    ledger.want({ref: Verdict(1)})
    assert ledger.take(1.0) is None
    assert ledger.wake_at(1.0) is None
    ledger.want({ref: Verdict(2)})
    found = ledger.take(1.0)
    assert found == (ref, Verdict(2))
    assert ledger.wrote(*found) == Verdict(1)


def test_what_changes_while_it_is_written_is_written_again() -> None:
    ledger, (ref,) = Ledger(), refs(1)
    ledger.want({ref: Verdict(1)})
    found = ledger.take(0.0)
    assert found is not None
    ledger.want({ref: Verdict(2)})
    ledger.wrote(*found)
    assert ledger.take(0.0) == (ref, Verdict(2))


def test_what_fails_is_tried_ever_more_seldom_and_holds_up_nobody() -> None:
    ledger, (bad, good) = Ledger(), refs(2)
    ledger.want({bad: Verdict(1), good: Verdict(1)})
    now, tried = 0.0, []
    for _ in range(10):
        while (found := ledger.take(now)) is not None:
            if found[0] == bad:
                tried.append(now)
                ledger.failed(bad, now)
            else:
                ledger.wrote(*found)
        wake = ledger.wake_at(now)
        assert wake is not None
        now = wake
    pauses = [b - a for a, b in pairwise(tried)]
    assert pauses[0] == PATIENCE[0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == PATIENCE[1]
