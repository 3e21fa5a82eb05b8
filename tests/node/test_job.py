"""Which pods a Job wants, and when it has come to its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.node.controlled import Node, stored


def text(more: str = "", policy: str = "Never", command: str = "work") -> str:
    return f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: job}}
spec:
  template:
    spec: {{restartPolicy: {policy}, containers: [{{name: app, command: [{command}]}}]}}
  {more}
"""


def node(more: str = "", policy: str = "Never") -> Node:
    made = Node(stored(text(more, policy)))
    made.step()
    return made


def conditions(made: Node) -> list[tuple[str, str]]:
    return [(each["type"], each.get("reason", "")) for each in made.status().get("conditions", [])]


def test_one_pod_that_succeeds() -> None:
    made = node()
    assert made.log == ["+job-0"]
    assert made.status()["active"] == 1
    made.end("job-0")
    assert not made.step()
    assert made.log == ["+job-0"], "it stays, with its logs"
    assert conditions(made) == [("Complete", "CompletionsReached")]
    assert made.status()["completionTime"] == "2023-11-14T22:13:22Z"
    assert made.rollout().done


def test_so_many_completions_so_many_at_once() -> None:
    made = node("completions: 5\n  parallelism: 2")
    assert made.log == ["+job-0", "+job-1"]
    made.end("job-1")
    made.step()
    assert made.log[2:] == ["+job-2"]
    for name in ("job-0", "job-2"):
        made.end(name)
    made.step()
    assert made.log[3:] == ["+job-3", "+job-4"]
    made.end("job-3")
    made.end("job-4")
    made.step()
    assert conditions(made)[0][0] == "Complete"


def test_without_completions_the_first_success_is_the_last_start() -> None:
    made = node("parallelism: 3")
    assert len(made.pods) == 3
    made.end("job-1")
    assert not made.step()
    assert conditions(made) == []
    made.end("job-0")
    made.end("job-2", 1)
    made.step()
    assert conditions(made)[0][0] == "Complete"


def test_a_pod_that_failed_is_followed_by_another_later_each_time() -> None:
    made = node("backoffLimit: 3")
    made.end("job-0", 1)
    assert not made.step()
    assert made.look == made.seconds + 10
    made.step(10)
    made.end("job-1", 1)
    assert not made.step()
    assert made.look == made.seconds + 20
    assert made.status()["failed"] == 2


def test_beyond_its_limit_it_has_failed_and_its_other_pods_go() -> None:
    made = node("backoffLimit: 0\n  parallelism: 2\n  completions: 2")
    made.end("job-0", 7)
    made.step()
    assert conditions(made) == [("Failed", "BackoffLimitExceeded")]
    assert made.log[2:] == ["-job-1"]
    made.step()
    assert [problem.reason for problem in made.problems] == ["JobFailed"]
    assert made.rollout().failed


def test_containers_that_were_started_again_count_to_the_limit() -> None:
    made = node("backoffLimit: 2", "OnFailure")
    made.pods["job-0"] = replace(made.pods["job-0"], restarts=1)
    assert not made.step()
    made.pods["job-0"] = replace(made.pods["job-0"], restarts=2)
    made.step()
    assert conditions(made) == [("Failed", "BackoffLimitExceeded")]


def test_a_deadline_ends_it() -> None:
    made = node("activeDeadlineSeconds: 60")
    assert made.look == made.seconds + 60
    made.step(60)
    assert conditions(made) == [("Failed", "DeadlineExceeded")]
    assert made.log == ["+job-0", "-job-0"]


def test_it_goes_some_time_after_its_end() -> None:
    made = node("ttlSecondsAfterFinished: 30")
    made.end("job-0")
    made.step()
    assert (made.deleted, made.look) == ([], made.seconds + 30)
    made.step(30)
    assert made.deleted == [made.object.ref]


def test_while_it_is_suspended_nothing_runs_and_no_time_passes() -> None:
    more = "activeDeadlineSeconds: 60"
    made = node(f"{more}\n  suspend: true")
    assert made.log == []
    assert conditions(made) == [("Suspended", "JobSuspended")]
    assert made.rollout().done
    made.change(text(more))
    made.step(100)
    assert made.log == ["+job-0"]
    made.change(text(f"{more}\n  suspend: true"))
    made.step()
    made.change(text(more))
    made.step(100)
    assert made.log == ["+job-0", "-job-0", "+job-1"]
    assert made.status()["failed"] == 0


@pytest.mark.parametrize(
    ("code", "log", "condition"),
    [
        (42, [], [("Failed", "PodFailurePolicy")]),
        (3, ["+job-1"], []),
        (1, [], [("Failed", "BackoffLimitExceeded")]),
    ],
)
def test_a_policy_says_what_a_failure_means(code: int, log: list[str], condition: list[tuple[str, str]]) -> None:
    made = node(
        """backoffLimit: 0
  podFailurePolicy:
    rules:
    - {action: FailJob, onExitCodes: {containerName: app, operator: In, values: [42]}}
    - {action: Ignore, onExitCodes: {operator: NotIn, values: [1]}}"""
    )
    made.end("job-0", code)
    made.step()
    made.step(10)
    assert (made.log[1:], conditions(made)) == (log, condition)


def test_each_index_is_completed_once() -> None:
    made = node("completionMode: Indexed\n  completions: 3\n  parallelism: 2")
    assert made.log == ["+job-0-0", "+job-1-1"]
    pod = made.made["job-1-1"].template.spec
    assert pod.hostname == "job-1"
    assert pod.containers[0].env[0].name == "JOB_COMPLETION_INDEX"
    made.end("job-0-0", 1)
    made.step()
    made.step(10)
    assert made.log[2:] == ["+job-0-2"], "the same index again"
    made.end("job-1-1")
    made.end("job-0-2")
    made.step()
    assert made.log[3:] == ["+job-2-3"]
    made.end("job-2-3")
    made.step()
    assert made.status()["completedIndexes"] == "0-2"
    assert conditions(made)[0][0] == "Complete"


def test_a_pod_that_somebody_takes_away_has_failed() -> None:
    made = node()
    made.pods["job-0"] = replace(made.pods["job-0"], leaving=True)
    made.step()
    made.bury()
    made.step(10)
    assert made.log == ["+job-0", "+job-1"]
    assert made.status()["failed"] == 1


def test_with_another_template_it_is_run_anew() -> None:
    made = node()
    made.end("job-0")
    made.step()
    made.change(text(command="better"))
    made.step()
    assert made.log == ["+job-0", "-job-0", "+job-1"]
    assert conditions(made) == []


def test_what_is_planned_is_what_runs_at_once() -> None:
    made = node("completions: 5\n  parallelism: 2")
    assert [pod.hash for pod in made.planned()] == [pod.hash for pod in made.pods.values()]
