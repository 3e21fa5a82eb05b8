"""Fields of the user's documents by what they mean: paths as Problems name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pilotfish.config.paths import steps
from pilotfish.mesh.hosts import whole_name

Document = Mapping[str, Any]


def deepest(document: Document, path: str) -> str:
    """As much of the path as was written."""
    here: Any = document
    found = ""
    for step in steps(path):
        if isinstance(here, Mapping) and step in here:
            here, found = here[step], f"{found}[{step}]" if "." in step or "/" in step else f"{found}.{step}"
        elif isinstance(here, list) and step.isdecimal() and int(step) < len(here):
            here, found = here[int(step)], f"{found}[{step}]"
        else:
            break
    return found.removeprefix(".")


def service_port(document: Document, number: int, below: str = "") -> str:
    """Of a Service or a ServiceEntry."""
    index = _index(document, "ports", lambda each: number in (each.get("port"), each.get("number")) and _is_tcp(each))
    return f"spec.ports[{index}]{f'.{below}' if below else ''}" if index is not None else "spec"


def _is_tcp(port: Document) -> bool:
    return port.get("protocol") != "UDP"


def entry_host(document: Document, host: str) -> str:
    """Of a ServiceEntry; a Service is called as it is."""
    listed = _spec(document).get("hosts") or ()
    index = next((i for i, each in enumerate(listed) if whole_name(str(each)) == host), None)
    return f"spec.hosts[{index}]" if index is not None else "metadata.name"


def endpoints(document: Document) -> str:
    """What says which endpoints a Service or ServiceEntry has."""
    spec = _spec(document)
    return next((f"spec.{name}" for name in ("selector", "workloadSelector", "endpoints") if spec.get(name)), "spec")


def peer_mode(document: Document, port: str) -> str:
    """What a PeerAuthentication says of a port of the app."""
    own = _spec(document).get("portLevelMtls") or {}
    return f"spec.portLevelMtls.{port}.mode" if port in map(str, own) else "spec.mtls.mode"


def subset(document: Document, name: str) -> str:
    """Of a DestinationRule; "" where it has none of the name."""
    index = _index(document, "subsets", lambda each: each.get("name") == name)
    return f"spec.subsets[{index}]" if index is not None else ""


def subset_labels(document: Document, name: str) -> str:
    """`app=web, version=v3`."""
    found: Document = next((each for each in _spec(document).get("subsets") or () if each.get("name") == name), {})
    return ", ".join(f"{key}={value}" for key, value in sorted((found.get("labels") or {}).items()))


def ingress(document: Document, number: int) -> str:
    """Of a Sidecar: where it says what comes to a port of the pod."""
    index = _index(document, "ingress", lambda each: (each.get("port") or {}).get("number") == number)
    return f"spec.ingress[{index}]" if index is not None else "spec"


def policy(document: Document, subset_name: str, port: int, setting: str) -> str:
    """Of a DestinationRule: where the traffic policy that holds for a port of a subset says a setting; "" where it says
    nothing of it. What a port has replaces what holds for all."""
    places = [subset(document, subset_name)] if subset_name else []
    for place in (*(f"{found}." for found in places if found), "spec."):
        found = f"{place}trafficPolicy"
        listed = value_at(document, f"{found}.portLevelSettings") or ()
        for index, each in enumerate(listed):
            if (each.get("port") or {}).get("number") == port and setting in each:
                return f"{found}.portLevelSettings[{index}].{setting}"
        if setting in (value_at(document, found) or {}):
            return f"{found}.{setting}"
    return ""


def value_at(document: Document, path: str) -> Any:
    here: Any = document
    for step in steps(path):
        if isinstance(here, Mapping):
            here = here.get(step)
        elif isinstance(here, list) and step.isdecimal() and int(step) < len(here):
            here = here[int(step)]
        else:
            return None
    return here


def _index(document: Document, name: str, holds: Any) -> int | None:
    return next(_indices(document, name, holds), None)


def _indices(document: Document, name: str, holds: Any) -> Iterator[int]:
    listed = _spec(document).get(name) or ()
    return (index for index, each in enumerate(listed) if isinstance(each, Mapping) and holds(each))


def _spec(document: Document) -> Mapping[str, Any]:
    spec = document.get("spec")
    return spec if isinstance(spec, Mapping) else {}
