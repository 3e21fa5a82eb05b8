"""Revision tags: names for revisions, which namespaces carry in `istio.io/rev`, and which are moved to another revision
at once.

A tag is a webhook configuration of its own, and the revision's right to keep its certificate there. The tag `default`
is what `istio-injection` means, and whoever has it validates the objects that name no revision.

Source: https://istio.io/latest/docs/setup/upgrade/canary/#stable-revision-labels
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pilotfish.config.checks.names import is_dns_label
from pilotfish.install.access import tag_access
from pilotfish.install.injecting import asked_of
from pilotfish.install.injection import injection_webhooks, validation_webhooks
from pilotfish.install.names import DEFAULT, TAG, Names, Object, tag_name
from pilotfish.install.values import Values

_LONGEST: Final = 40
"""Characters, so that what is called by it has a name still."""


def is_tag(text: str) -> bool:
    return is_dns_label(text) and len(text) <= _LONGEST


def build_tag(tag: str, values: Values, ca_bundle: str) -> tuple[Object, ...]:
    """`values`: of the revision that it means. `ca_bundle`: that of its own webhooks, so that a tag is answered from
    the first moment on."""
    names, name = Names(values.revision, values.namespace), tag_name(tag)
    labels = {**names.labels, TAG: tag}
    webhooks = [injection_webhooks(name, tag, values, names, labels, ca_bundle)]
    if tag == DEFAULT:
        webhooks.append(validation_webhooks(name, tag, names, labels, ca_bundle))
    return (*tag_access(name, names, labels), *webhooks)


def namespaces_by_name(namespaces: Iterable[Object]) -> dict[str, tuple[str, ...]]:
    """A revision or a tag → the namespaces whose labels name it, in order."""
    found: dict[str, list[str]] = {}
    for namespace in namespaces:
        if name := asked_of(namespace):
            found.setdefault(name, []).append(namespace["metadata"]["name"])
    return {name: tuple(sorted(each)) for name, each in found.items()}
