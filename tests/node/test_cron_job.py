"""When a CronJob makes Jobs, and which it keeps."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Literal

import pytest

from pilotfish.config.schedule import due_after, parse_schedule, parse_time_zone
from pilotfish.config.workloads import Job
from pilotfish.model.kinds import CRON_JOB, JOB
from pilotfish.node.controllers import cron_job
from pilotfish.node.controllers.values import JobFacts
from tests.node.controlled import WALL, Node, stored


def text(more: str = "", schedule: str = "* * * * *") -> str:
    return f"""
apiVersion: batch/v1
kind: CronJob
metadata: {{name: tick}}
spec:
  schedule: "{schedule}"
  jobTemplate:
    metadata: {{labels: {{a: b}}}}
    spec:
      template:
        spec: {{restartPolicy: Never, containers: [{{name: app, command: [date]}}]}}
  {more}
"""


FIRST = WALL + 40
"""22:14:00: WALL is twenty seconds past a minute."""


def name(minute: int) -> str:
    return f"tick-{int(FIRST) // 60 + minute}"


def node(more: str = "", schedule: str = "* * * * *") -> Node:
    made = Node(stored(text(more, schedule)))
    made.step(0)
    return made


def made_names(made: Node) -> list[str]:
    return [ref.name for ref in made.objects]


Ended = Literal["", "Complete", "Failed"]


def job(minute: int, ended: Ended = "") -> JobFacts:
    due = FIRST + 60 * minute
    return JobFacts(JOB.ref("default", name(minute)), due, ended, due if ended else None)


def test_a_job_is_made_when_it_is_due() -> None:
    made = node()
    assert (made_names(made), made.look) == ([], 40)
    made.step(40)
    assert made_names(made) == [name(0)]
    assert not made.step(59)
    made.step(1)
    assert made_names(made) == [name(0), name(1)]
    assert made.status()["lastScheduleTime"] == "2023-11-14T22:15:00Z"


def test_its_job_is_the_template_and_says_whose_it_is() -> None:
    manifest = cron_job.job_of(stored(text()), FIRST)
    resource = manifest.resource
    assert isinstance(resource, Job)
    assert resource.metadata.labels == {"a": "b"}
    assert cron_job.maker_of("default", resource.metadata) == CRON_JOB.ref("default", "tick")
    assert manifest.document["spec"] == {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "command": ["date"]}]}}
    }
    assert resource.metadata.annotations == {cron_job.SCHEDULED: "2023-11-14T22:14:00Z"}


def test_of_several_missed_times_the_last_is_made_up_for() -> None:
    made = node()
    made.step(40 + 5 * 60)
    assert made_names(made) == [name(5)]
    assert not made.step(1)


def test_what_is_too_late_is_left_out() -> None:
    made = node("startingDeadlineSeconds: 10", "0 * * * *")
    made.step(3600)
    assert made_names(made) == [], "it was due 13 minutes ago"


def test_suspended_it_makes_none_and_then_makes_up_for_the_last() -> None:
    made = node("suspend: true")
    assert (made.step(100), made.look) == (False, None)
    made.change(text())
    made.step(1)
    assert len(made.objects) == 1


def test_a_changed_schedule_makes_up_for_nothing() -> None:
    made = node(schedule="0 0 1 1 *")
    made.change(text())
    made.step(300)
    assert made_names(made) == []


@pytest.mark.parametrize(
    ("policy", "made_then", "deleted"), [("Allow", 2, []), ("Forbid", 1, []), ("Replace", 2, [name(0)])]
)
def test_a_run_that_is_not_over(policy: str, made_then: int, deleted: list[str]) -> None:
    made = node(f"concurrencyPolicy: {policy}")
    made.step(40)
    made.jobs = (job(0),)
    made.step(60)
    assert (len(made.objects), [ref.name for ref in made.deleted]) == (made_then, deleted)
    if policy == "Forbid":
        made.jobs = (job(0, "Complete"),)
        made.step(1)
        assert made_names(made) == [name(0), name(1)], "as soon as the one before is over"


def test_the_oldest_are_forgotten() -> None:
    made = node("successfulJobsHistoryLimit: 2\n  suspend: true")
    ends: tuple[Ended, ...] = ("Complete", "Failed", "Complete", "Failed", "Complete", "")
    made.jobs = tuple(job(minute, ended) for minute, ended in enumerate(ends))
    made.step()
    assert [ref.name for ref in made.deleted] == [name(0), name(1)]
    assert [each["name"] for each in made.status()["active"]] == [name(5)]
    assert made.status()["lastSuccessfulTime"] == "2023-11-14T22:18:00Z"


def test_a_clock_that_slept_for_a_week_costs_no_week() -> None:
    made = node("", "*/5 9-17 * * *")
    made.step(7 * 86400)
    assert len(made.objects) == 1


@pytest.mark.parametrize(
    ("schedule", "zone", "expected"),
    [
        ("@hourly", "", ["2023-11-14T23:00:00+00:00", "2023-11-15T00:00:00+00:00"]),
        ("30 2 * * *", "Europe/Berlin", ["2023-11-15T02:30:00+01:00", "2023-11-16T02:30:00+01:00"]),
        ("0 0 * * MON", "America/New_York", ["2023-11-20T00:00:00-05:00", "2023-11-27T00:00:00-05:00"]),
        ("0 12 ? * *", "", ["2023-11-15T12:00:00+00:00", "2023-11-16T12:00:00+00:00"]),
    ],
)
def test_schedules(schedule: str, zone: str, expected: list[str]) -> None:
    tz = parse_time_zone(zone) or parse_time_zone("UTC")
    assert tz is not None
    found = [datetime.fromtimestamp(time, tz).isoformat() for time in islice(due_after(schedule, WALL, tz), 2)]
    assert found == expected


def test_a_time_that_is_due_is_not_due_again() -> None:
    tz = parse_time_zone("UTC")
    assert tz is not None
    assert next(due_after("* * * * *", FIRST, tz)) == FIRST + 60


@pytest.mark.parametrize("text", ["", "* * * *", "* * * * * *", "61 * * * *", "@every 5m", "0 0 31 2 *"])
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ValueError):
        parse_schedule(text)
