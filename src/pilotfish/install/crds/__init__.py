"""CustomResourceDefinitions of Istio's kinds, made from the structs that objects are read into.

    config.istio's structs ─schema─▶ OpenAPI ─definitions─▶ CustomResourceDefinition
                            ├ descriptions   docstrings, which `kubectl explain` shows
                            └ constraints    of what `config.checks` refuses, that which a schema can say

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from pilotfish.install.crds.definitions import build_crds

__all__ = ["build_crds"]
