"""The webhook configurations: of which pods and objects an API server asks discovery, and what if nobody answers.

    Revision ─build_injection_webhooks──▶ MutatingWebhookConfiguration     POST /inject     a pod that is created
             ─build_validation_webhooks─▶ ValidatingWebhookConfiguration   POST /validate   an object of Istio's kinds

Their selectors say what `config.injection.is_asked` says. Both fail closed: while nobody answers no pod comes to be
without the sidecar that it is to have, and no object that nobody has looked at; the API server's answer names the
webhook. What exists already runs on, and may be changed in all but its spec, and deleted.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/, and Istio's own:
https://github.com/istio/istio/blob/master/manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pilotfish.config.injection import ENABLED, INJECT, OF_NAMESPACE, REVISION, Revision
from pilotfish.model.kinds import KINDS

Document = dict[str, Any]
_SUFFIX: Final = "sidecar-injector.istio.io"
TIMEOUT: Final = 10
"""Seconds: what the API server takes for itself. An answer takes some milliseconds."""
_NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
_SPEC_CHANGES: Final = (
    "request.operation != 'UPDATE' || !has(oldObject.spec) || !has(object.spec) || object.spec != oldObject.spec"
)
INJECT_PATH: Final = "/inject"
VALIDATE_PATH: Final = "/validate"


@dataclass(frozen=True, slots=True)
class Answerer:
    """Where the API server finds discovery."""

    service: str = ""
    namespace: str = ""
    port: int = 443
    url: str = ""
    """`https://127.0.0.1:15017`, without a path; in the place of a Service."""
    timeout: int = TIMEOUT
    """Seconds: 1 to 30."""
    ca_bundle: str = ""
    """PEM in base64; "" for whoever leads discovery to fill in."""

    def at(self, path: str) -> Document:
        bundle = {"caBundle": self.ca_bundle} if self.ca_bundle else {}
        if self.url:
            return {"url": f"{self.url}{path}", **bundle}
        return {
            "service": {"name": self.service, "namespace": self.namespace, "path": path, "port": self.port},
            **bundle,
        }


def build_injection_webhooks(
    name: str, revision: Revision, answerer: Answerer, labels: Mapping[str, str] | None = None
) -> Document:
    """A MutatingWebhookConfiguration."""
    found = [
        {
            "name": f"{prefix}.{_SUFFIX}",
            "clientConfig": answerer.at(INJECT_PATH),
            "rules": [
                {
                    "operations": ["CREATE"],
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "resources": ["pods"],
                    "scope": "Namespaced",
                }
            ],
            "namespaceSelector": {"matchExpressions": of_namespace},
            "objectSelector": {"matchExpressions": of_pod},
            "failurePolicy": "Fail",
            # Another webhook may add a container, whose probes are to be asked by way of the sidecar, too.
            "reinvocationPolicy": "IfNeeded",
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": answerer.timeout,
            "admissionReviewVersions": ["v1"],
        }
        for prefix, of_namespace, of_pod in _selectors(revision)
    ]
    return _configuration("MutatingWebhookConfiguration", name, found, labels)


def build_validation_webhooks(
    name: str, revision: Revision, answerer: Answerer, labels: Mapping[str, str] | None = None
) -> Document:
    """A ValidatingWebhookConfiguration. The default revision has the objects that name none."""
    chosen = [(f"rev.{_VALIDATION}", [_in(REVISION, *revision.names)])]
    if revision.is_default:
        chosen.append((_VALIDATION, [_absent(REVISION)]))
    found = [
        {
            "name": webhook,
            "clientConfig": answerer.at(VALIDATE_PATH),
            "rules": [
                {
                    "operations": ["CREATE", "UPDATE"],
                    "apiGroups": list(VALIDATED_GROUPS),
                    "apiVersions": ["*"],
                    "resources": ["*"],
                    "scope": "Namespaced",
                }
            ],
            "objectSelector": {"matchExpressions": of_object},
            # A finalizer is taken off, and a label is put on, while nobody answers.
            "matchConditions": [{"name": "spec-changes", "expression": _SPEC_CHANGES}],
            "failurePolicy": "Fail",
            "matchPolicy": "Exact",
            "sideEffects": "None",
            "timeoutSeconds": answerer.timeout,
            "admissionReviewVersions": ["v1"],
        }
        for webhook, of_object in chosen
    ]
    return _configuration("ValidatingWebhookConfiguration", name, found, labels)


def read_environment(path: str) -> Mapping[str, str] | None:
    """The variables that a path adds to each proxy, for API servers of other clusters; None if it is another's path.

    `/inject/cluster/west/net/a--slash--b`, and of old `/inject/:ENV:cluster=west:ENV:net=a`. Source:
    https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/ (`istiodRemote.injectionPath`)
    """
    if path != INJECT_PATH and not path.startswith(f"{INJECT_PATH}/"):
        return None
    rest = path.removeprefix(INJECT_PATH).strip("/")
    if rest.startswith(_OF_OLD):
        pairs = (pair.partition("=")[::2] for pair in rest.split(_OF_OLD)[1:])
    else:
        parts = rest.split("/")
        pairs = ((name, value.replace("--slash--", "/")) for name, value in zip(parts[::2], parts[1::2], strict=False))
    return {_VARIABLES.get(name, name.upper()): value for name, value in pairs if name}


_OF_OLD: Final = ":ENV:"
_VARIABLES: Final = {"cluster": "ISTIO_META_CLUSTER_ID", "net": "ISTIO_META_NETWORK"}
_VALIDATION: Final = "validation.istio.io"
VALIDATED_GROUPS: Final = tuple(sorted({kind.group for kind in KINDS if kind.is_istio}))
"""The APIs whose objects are looked at before they are stored."""


def _configuration(kind: str, name: str, webhooks: list[Document], labels: Mapping[str, str] | None) -> Document:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": dict(labels or {})},
        "webhooks": webhooks,
    }


_Selectors = tuple[str, list[Document], list[Document]]


def _selectors(revision: Revision) -> Iterator[_Selectors]:
    """(name's prefix, of the namespace, of the pod): no two fit the same pod."""
    names = revision.names
    not_refused = {"key": INJECT, "operator": "NotIn", "values": ["false"]}
    yield "rev.namespace", [_in(REVISION, *names), _absent(OF_NAMESPACE)], [not_refused]
    yield "rev.object", [_absent(REVISION), _absent(OF_NAMESPACE)], [not_refused, _in(REVISION, *names)]
    if not revision.is_default:
        return
    yield "namespace", [_in(OF_NAMESPACE, ENABLED)], [not_refused]
    unlabelled = [_absent(OF_NAMESPACE), _absent(REVISION)]
    yield "object", unlabelled, [_in(INJECT, "true"), _absent(REVISION)]
    if revision.by_default:
        others = {"key": _NAMESPACE_NAME, "operator": "NotIn", "values": list(revision.spared)}
        yield "auto", [*unlabelled, others], [_absent(INJECT), _absent(REVISION)]


def _in(key: str, *values: str) -> Document:
    return {"key": key, "operator": "In", "values": list(values)}


def _absent(key: str) -> Document:
    return {"key": key, "operator": "DoesNotExist"}
