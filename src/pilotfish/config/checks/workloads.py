"""The kinds that make pods.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/
"""

from __future__ import annotations

import re
from typing import Final

from pilotfish.config.checks.names import (
    check_at_least,
    check_dns_label,
    check_labels,
    check_object_name,
    check_unique,
)
from pilotfish.config.checks.pod import check_pod
from pilotfish.config.checks.storage import check_claim
from pilotfish.config.kubernetes import DeploymentSpec, DeploymentStrategy, LabelSelector, PodTemplate
from pilotfish.config.report import Report
from pilotfish.config.schedule import parse_schedule, parse_time_zone
from pilotfish.config.values import IntOrString
from pilotfish.config.workloads import (
    CronJob,
    DaemonSetSpec,
    JobSpec,
    PodFailurePolicy,
    ReplicaSetSpec,
    StatefulSet,
    StatefulSetSpec,
)
from pilotfish.model import Kind
from pilotfish.model.kinds import (
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
)

_PERCENT = re.compile(r"[0-9]{1,3}%")
_MOST_PODS: Final = 65_532
_LONGEST_CRON_JOB: Final = 52
"""Characters: its Jobs' names are eleven longer. Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/"""


def check_deployment(spec: DeploymentSpec, report: Report) -> None:
    _check_replicated(spec, DEPLOYMENT, report)
    check_at_least(spec.revision_history_limit, 0, "spec.revisionHistoryLimit", report)
    check_at_least(spec.progress_deadline_seconds, 1, "spec.progressDeadlineSeconds", report)
    _check_strategy(spec.strategy, report)


def check_replica_set(spec: ReplicaSetSpec, report: Report) -> None:
    _check_replicated(spec, REPLICA_SET, report)


def check_stateful_set(resource: StatefulSet, report: Report) -> None:
    """Its pods' names are host names, too."""
    spec = resource.spec
    check_dns_label(resource.metadata.name, "metadata.name", report)
    claims = frozenset(each.metadata.name for each in spec.volume_claim_templates)
    _check_replicated(spec, STATEFUL_SET, report, claims)
    if spec.service_name:
        check_object_name(spec.service_name, SERVICE, "spec.serviceName", report)
    check_at_least(spec.ordinals.start, 0, "spec.ordinals.start", report)
    rolling = spec.update_strategy.rolling_update
    check_at_least(rolling.partition, 0, "spec.updateStrategy.rollingUpdate.partition", report)
    _check_share(rolling.max_unavailable, "spec.updateStrategy.rollingUpdate.maxUnavailable", report)
    field = "spec.volumeClaimTemplates"
    for index, template in enumerate(spec.volume_claim_templates):
        check_object_name(template.metadata.name, PERSISTENT_VOLUME_CLAIM, f"{field}[{index}].metadata.name", report)
        check_claim(template.spec, f"{field}[{index}].spec", report)
    names = ((f"{field}[{i}].metadata.name", each.metadata.name) for i, each in enumerate(spec.volume_claim_templates))
    check_unique(names, "the claim", report)


def check_daemon_set(spec: DaemonSetSpec, report: Report) -> None:
    _check_selector(spec.selector, spec.template, report)
    check_at_least(spec.min_ready_seconds, 0, "spec.minReadySeconds", report)
    rolling = spec.update_strategy.rolling_update
    _check_shares(rolling.max_surge, rolling.max_unavailable, "spec.updateStrategy.rollingUpdate", report)
    _check_template(spec.template, "spec.template", DAEMON_SET, report)


def check_job(spec: JobSpec, field: str, report: Report) -> None:
    _check_number(spec.parallelism, f"{field}.parallelism", report)
    check_at_least(spec.completions, 0, f"{field}.completions", report)
    check_at_least(spec.backoff_limit, 0, f"{field}.backoffLimit", report)
    check_at_least(spec.active_deadline_seconds, 0, f"{field}.activeDeadlineSeconds", report)
    check_at_least(spec.ttl_seconds_after_finished, 0, f"{field}.ttlSecondsAfterFinished", report)
    if spec.completion_mode == "Indexed" and spec.completions is None:
        report.missing(f"{field}.completions", "an Indexed Job has so many indexes")
    if spec.pod_failure_policy is not None:
        _check_failure_policy(spec.pod_failure_policy, f"{field}.podFailurePolicy", report)
        if spec.template.spec.restart_policy != "Never":
            what = "a podFailurePolicy needs pods whose containers are not started again"
            report.invalid(f"{field}.podFailurePolicy", what, "write restartPolicy: Never")
    _check_template(spec.template, f"{field}.template", JOB, report)


def check_cron_job(resource: CronJob, report: Report) -> None:
    spec, name = resource.spec, resource.metadata.name
    if len(name) > _LONGEST_CRON_JOB:
        remedy = f"use {_LONGEST_CRON_JOB} characters at most"
        report.invalid("metadata.name", f"the names of its Jobs would be too long with {name!r}", remedy)
    try:
        parse_schedule(spec.schedule)
    except ValueError as error:
        report.invalid("spec.schedule", f"{spec.schedule!r} is no schedule ({error})", 'write such as "*/5 * * * *"')
    try:
        parse_time_zone(spec.time_zone)
    except ValueError:
        report.invalid("spec.timeZone", f"{spec.time_zone!r} is no time zone", "write such as Europe/Berlin")
    check_at_least(spec.starting_deadline_seconds, 0, "spec.startingDeadlineSeconds", report)
    check_at_least(spec.successful_jobs_history_limit, 0, "spec.successfulJobsHistoryLimit", report)
    check_at_least(spec.failed_jobs_history_limit, 0, "spec.failedJobsHistoryLimit", report)
    check_labels(spec.job_template.metadata.labels, "spec.jobTemplate.metadata.labels", report)
    check_job(spec.job_template.spec, "spec.jobTemplate.spec", report)


def _check_replicated(
    spec: DeploymentSpec | ReplicaSetSpec | StatefulSetSpec,
    kind: Kind,
    report: Report,
    claims: frozenset[str] = frozenset(),
) -> None:
    _check_selector(spec.selector, spec.template, report)
    _check_number(spec.replicas, "spec.replicas", report)
    check_at_least(spec.min_ready_seconds, 0, "spec.minReadySeconds", report)
    _check_template(spec.template, "spec.template", kind, report, claims)


def _check_template(
    template: PodTemplate, field: str, kind: Kind, report: Report, claims: frozenset[str] = frozenset()
) -> None:
    check_labels(template.metadata.labels, f"{field}.metadata.labels", report)
    policy = template.spec.restart_policy
    if kind is JOB and policy == "Always":
        what = "a Job comes to its end, and its containers would always be started again"
        report.invalid(f"{field}.spec.restartPolicy", what, "write Never or OnFailure")
    elif kind is not JOB and policy != "Always":
        what = f"a {kind} restarts its containers, and {policy} says not to"
        report.invalid(f"{field}.spec.restartPolicy", what, "write Always, or make it a Job")
    if kind is not JOB and template.spec.active_deadline_seconds is not None:
        what = f"pods of a {kind} run on and on, and would have failed after that time"
        report.invalid(f"{field}.spec.activeDeadlineSeconds", what, "remove it, or make it a Job")
    check_pod(template.metadata, template.spec, f"{field}.", report, claims)


def _check_number(pods: int, field: str, report: Report) -> None:
    check_at_least(pods, 0, field, report)
    if pods > _MOST_PODS:
        report.invalid(field, f"a mesh has addresses for {_MOST_PODS} pods", "write a smaller number")


def _check_selector(selector: LabelSelector, template: PodTemplate, report: Report) -> None:
    wanted, labels = selector.match_labels, template.metadata.labels
    if not wanted and "spec.selector.matchExpressions" not in report.left_out:
        report.missing("spec.selector.matchLabels", "write the labels of its pods")
    for key, value in wanted.items():
        if labels.get(key) != value and not report.is_taken_out(f"spec.template.metadata.labels[{key}]"):
            what = f"the pods of spec.template do not have the label {key}: {value}"
            remedy = "write the same label under spec.template.metadata.labels"
            report.invalid(f"spec.selector.matchLabels[{key}]", what, remedy)


def _check_strategy(strategy: DeploymentStrategy, report: Report) -> None:
    rolling = strategy.rolling_update
    _check_shares(rolling.max_surge, rolling.max_unavailable, "spec.strategy.rollingUpdate", report)


def _check_shares(surge: IntOrString, unavailable: IntOrString, field: str, report: Report) -> None:
    _check_share(surge, f"{field}.maxSurge", report)
    _check_share(unavailable, f"{field}.maxUnavailable", report)
    if surge.value in (0, "0%") and unavailable.value in (0, "0%"):
        what = "maxSurge and maxUnavailable are both 0, so that no pod could ever be replaced"
        report.invalid(field, what, "give one of them a value")


def _check_share(share: IntOrString, field: str, report: Report) -> None:
    value = share.value
    right = 0 <= value < 2**31 if isinstance(value, int) else _PERCENT.fullmatch(value) is not None
    if not right:
        report.invalid(field, f"{value!r} is neither a number of pods nor a percentage", "write such as 1 or 25%")


def _check_failure_policy(policy: PodFailurePolicy, field: str, report: Report) -> None:
    for index, rule in enumerate(policy.rules):
        inner = f"{field}.rules[{index}]"
        if (rule.on_exit_codes is None) == (not rule.on_pod_conditions):
            report.invalid(inner, "a rule is of exit codes or of conditions", "write one of them")
        if rule.on_exit_codes is not None and not rule.on_exit_codes.values:
            report.missing(f"{inner}.onExitCodes.values", "write the exit codes")
