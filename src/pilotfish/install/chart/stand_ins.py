"""Values that stand for themselves, and what the code asks of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pilotfish.inject.values import Resources
from pilotfish.install.chart import tokens
from pilotfish.install.values import Autoscale, Cni, Discovery, Gateway, Injection, Placement, Values
from pilotfish.model.wellknown import ROOT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Question:
    """What makes objects differ otherwise than by what is filled in."""

    name: str
    condition: str
    """In a template."""


QUESTIONS: Final = (
    Question("revision", ".Values.revision"),
    Question("cni", ".Values.cni.enabled"),
    Question("delete", '(eq .Values.cni.repair "delete")'),
    Question("gateway", ".Values.gateway.enabled"),
    Question("autoscale", ".Values.discovery.autoscale.enabled"),
    Question("gateway_autoscale", ".Values.gateway.autoscale.enabled"),
    Question("plaintext", ".Values.discovery.plaintext"),
    Question("everywhere", ".Values.injection.everyNamespace"),
)


def stand_in(answers: Mapping[str, bool]) -> Values:
    """With tokens for all that is filled in. Nothing of it is of the type that its field has."""
    made: Any = Values
    values: Values = made(
        revision=tokens.REVISION if answers["revision"] else "",
        namespace=ROOT_NAMESPACE,
        hub=tokens.HUB,
        image=tokens.text("image"),
        tag=tokens.text("tag"),
        pull_policy=tokens.optional("pullPolicy"),
        pull_secrets=tokens.listed("pullSecrets"),
        crds=False,
        mesh_config=tokens.overlay("meshConfig"),
        discovery=_discovery(answers),
        injection=_injection(answers),
        proxy=tokens.mapping("proxy"),
        cluster_name=tokens.text("clusterName"),
        network=tokens.optional("network"),
        mesh_id=tokens.optional("meshId"),
        ca_address=tokens.optional("caAddress"),
        cni=_cni(answers),
        gateway=_gateway(answers),
    )
    return values


def _discovery(answers: Mapping[str, bool]) -> Any:
    made: Any = Discovery
    return made(
        **_placement("discovery"),
        autoscale=_autoscale("discovery", answers["autoscale"]),
        resources=_resources("discovery"),
        plaintext=answers["plaintext"],
        args=tokens.listed("discovery.args"),
        pod_annotations=tokens.mapping("discovery.podAnnotations"),
    )


def _injection(answers: Mapping[str, bool]) -> Any:
    made: Any = Injection
    return made(
        by_default=tokens.plain("injection.byDefault"),
        never_inject_selector=tokens.listed("injection.neverInjectSelector"),
        always_inject_selector=tokens.listed("injection.alwaysInjectSelector"),
        every_namespace=answers["everywhere"],
        annotations=tokens.mapping("injection.annotations"),
    )


def _cni(answers: Mapping[str, bool]) -> Any:
    made: Any = Cni
    return made(
        **_placement("cni"),
        enabled=answers["cni"],
        bin_dir=tokens.text("cni.binDir"),
        conf_dir=tokens.text("cni.confDir"),
        exclude_namespaces=tokens.listed("cni.excludeNamespaces"),
        repair="delete" if answers["delete"] else tokens.text("cni.repair"),
        resources=_resources("cni"),
    )


def _gateway(answers: Mapping[str, bool]) -> Any:
    made: Any = Gateway
    return made(
        **_placement("gateway"),
        enabled=answers["gateway"],
        type=tokens.text("gateway.type"),
        ports=tokens.listed("gateway.ports"),
        annotations=tokens.mapping("gateway.annotations"),
        autoscale=_autoscale("gateway", answers["gateway_autoscale"]),
        resources=_resources("gateway"),
    )


def _autoscale(field: str, enabled: bool) -> Any:
    made: Any = Autoscale
    numbers = {name: tokens.plain(f"{field}.autoscale.{name}") for name in ("min", "max", "cpu")}
    return made(enabled=enabled, **numbers)


def _resources(field: str) -> Any:
    made: Any = Resources
    return made(**{name: tokens.mapping(f"{field}.resources.{name}") for name in ("requests", "limits")})


def _placement(field: str) -> Mapping[str, Any]:
    fields = Placement.__struct_fields__
    kinds = {"node_selector": tokens.mapping, "affinity": tokens.mapping, "tolerations": tokens.listed}
    return {name: kinds.get(name, tokens.optional)(f"{field}.{_camel(name)}") for name in fields}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))
