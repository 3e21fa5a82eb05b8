"""Whom the API server trusts when it calls a webhook: `caBundle`, in each of a configuration's webhooks.

configuration as it is, roots ─patch─▶ JSON patch; () where all is as it should be
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec


class _Client(msgspec.Struct):
    bundle: str = msgspec.field(name="caBundle", default="")
    url: str = ""


class _Webhook(msgspec.Struct):
    client: _Client = msgspec.field(name="clientConfig")


class _Metadata(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")
    labels: dict[str, str] | None = None


class Configuration(msgspec.Struct):
    """A MutatingWebhookConfiguration or a ValidatingWebhookConfiguration."""

    metadata: _Metadata
    webhooks: list[_Webhook] | None = None

    def has(self, labels: Mapping[str, str]) -> bool:
        """Whether it is one of those that are labelled so."""
        return labels.items() <= (self.metadata.labels or {}).items()


def patch(found: Configuration, roots: bytes) -> tuple[dict[str, Any], ...]:
    """`roots`: PEM. One that calls a URL and no Service is as the user wrote it."""
    bundle = base64.b64encode(roots).decode()
    changes = [
        {"op": "add", "path": f"/webhooks/{place}/clientConfig/caBundle", "value": bundle}
        for place, webhook in enumerate(found.webhooks or ())
        if webhook.client.bundle != bundle and not webhook.client.url
    ]
    if not changes:
        return ()
    # Places are those of this version alone.
    return ({"op": "test", "path": "/metadata/resourceVersion", "value": found.metadata.version}, *changes)
