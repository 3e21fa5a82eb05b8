"""What discovery is told of the proxies that it puts into pods, and what the API server asks it about."""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config.injection import Revision
from pilotfish.inject.values import Choice, InjectionValues
from pilotfish.inject.webhooks import Answerer, build_injection_webhooks, build_validation_webhooks
from pilotfish.install.names import Names, Object
from pilotfish.install.values import Values


def proxies(values: Values) -> InjectionValues:
    chosen = values.injection
    return InjectionValues(
        revision=values.revision,
        image=image_name(values),
        pull_policy=values.pull_policy,
        pull_secrets=values.pull_secrets,
        cni=values.cni.enabled,
        cluster_name=values.cluster_name,
        network=values.network,
        mesh_id=values.mesh_id,
        ca_address=values.ca_address,
        annotations=chosen.annotations,
        choice=Choice(
            by_default=chosen.by_default,
            never_inject_selector=chosen.never_inject_selector,
            always_inject_selector=chosen.always_inject_selector,
        ),
        proxy=values.proxy,
    )


def image_name(values: Values) -> str:
    """All that is installed is of one image."""
    named = f"{values.image}:{values.tag}"
    return f"{values.hub.rstrip('/')}/{named}" if values.hub else named


def injection_webhooks(
    name: str, label: str, values: Values, names: Names, labels: Mapping[str, str], ca_bundle: str = ""
) -> Object:
    """`label`: what `istio.io/rev` has to say: the revision, or a tag of it."""
    revision = Revision(label, by_default=values.injection.every_namespace)
    return build_injection_webhooks(name, revision, _answerer(names, ca_bundle), labels)


def validation_webhooks(name: str, label: str, names: Names, labels: Mapping[str, str], ca_bundle: str = "") -> Object:
    return build_validation_webhooks(name, Revision(label), _answerer(names, ca_bundle), labels)


def _answerer(names: Names, ca_bundle: str) -> Answerer:
    return Answerer(service=names.service, namespace=names.namespace, ca_bundle=ca_bundle)
