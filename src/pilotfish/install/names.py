"""What an installation calls its objects, and by which labels it knows them again.

Proxies and Istio's tools look for some of them, which have Istio's names: the Service and its account `istiod`, the
ConfigMap `istio`. All else is called `pilotfish`. A revision's have its name at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pilotfish.config.injection import DEFAULT_REVISION, REVISION, revised
from pilotfish.model.wellknown import DISCOVERY_ACCOUNT, MANAGED_BY, PILOTFISH, ROOT_NAMESPACE

Object = dict[str, Any]
"""As in a manifest."""
DEFAULT: Final = DEFAULT_REVISION
"""How the revision without a name is called in labels."""
RESERVED: Final = frozenset({DEFAULT})
PART_OF: Final = "app.kubernetes.io/part-of"
TAG: Final = "istio.io/tag"
APP: Final = "istiod"
"""What `app` says on the control plane's pods, as Istio's tools and dashboards look for it."""
AUTHORITY: Final = "pilotfish-authority"
"""The Secret with what discovery signs with."""
CNI: Final = "pilotfish-cni"
VALUES: Final = "pilotfish.io/values"
"""The annotation of the control plane with what it was installed with."""
OURS: Final = {MANAGED_BY: PILOTFISH, PART_OF: PILOTFISH}
"""On everything that an installation creates."""


@dataclass(frozen=True, slots=True)
class Names:
    revision: str = ""
    namespace: str = ROOT_NAMESPACE

    @property
    def own(self) -> str:
        """Deployment, budgets, roles, webhook configurations."""
        return self.revised(PILOTFISH)

    @property
    def service(self) -> str:
        """Service and ServiceAccount."""
        return self.revised(DISCOVERY_ACCOUNT)

    @property
    def mesh(self) -> str:
        """The ConfigMap with the meshConfig."""
        return self.revised("istio")

    @property
    def lease(self) -> str:
        return f"{self.own}-leader"

    @property
    def last_good(self) -> str:
        """The Secret with what Envoy refused, and what is used in its stead."""
        return f"{self.own}-last-good"

    @property
    def label(self) -> str:
        """What `istio.io/rev` says."""
        return self.revision or DEFAULT

    @property
    def labels(self) -> dict[str, str]:
        return {**OURS, REVISION: self.label}

    @property
    def marks(self) -> dict[str, str]:
        """By which what is this revision's is known, whoever installed it: Helm writes its own name as the manager."""
        return {PART_OF: PILOTFISH, REVISION: self.label}

    def revised(self, name: str) -> str:
        return revised(name, self.revision)


def tag_name(tag: str) -> str:
    return f"{PILOTFISH}-tag-{tag}"
