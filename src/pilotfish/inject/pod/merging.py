"""What injection adds, merged into a pod: beside what is there, and in the order in which it is to start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pilotfish.inject.pod.capture import CAPTURE_CONTAINERS
from pilotfish.inject.pod.installation import Document
from pilotfish.inject.pod.previous import Previous
from pilotfish.model.wellknown import INIT_CONTAINER, PROXY_CONTAINER
from pilotfish.node.patching import strategic

AUTO: Final = "auto"
"""The image of a pod's own container `istio-proxy` that is to be the mesh's."""
OURS: Final = (PROXY_CONTAINER, *CAPTURE_CONTAINERS)
_LISTS: Final = ("initContainers", "containers")
_OF_ISTIO: Final = (["proxy", "router"], ["proxy", "sidecar"])


def merge(
    spec: Document,
    added: Document,
    own: Mapping[str, Document],
    previous: Previous,
    *,
    first: bool,
    before: Iterable[str],
) -> Document:
    """The pod's `spec` with what is `added`. `own`: what its author wrote of containers that are added; `previous`:
    what the pod has of an earlier injection; `first`: the proxy is the first of the containers; `before`: init
    containers that run before a proxy which is one of them."""
    names = {each["name"] for key in _LISTS for each in added[key]}
    names |= {name for name in OURS if previous.added(name)}
    kept: dict[str, list[Document]] = {}
    there: dict[str, tuple[str, Document]] = {}
    for key in _LISTS:
        listed = spec.get(key) or ()
        kept[key] = [each for each in listed if each.get("name") not in names]
        there |= {each["name"]: (key, each) for each in listed if each.get("name") in names}
    placed: dict[str, list[Document]] = {}
    for key in _LISTS:
        placed[key] = []
        for ours in added[key]:
            held_in, held = there.get(ours["name"], ("", {}))
            base = held if previous.added(ours["name"]) and held_in == key else {}
            placed[key].append(_with_own(_merged(base, ours), own.get(ours["name"])))
    result = dict(spec)
    containers = [*placed["containers"], *kept["containers"]] if first else [*kept["containers"], *placed["containers"]]
    result["containers"] = containers
    init = _ordered(placed["initContainers"], kept["initContainers"], tuple(before))
    if init or "initContainers" in spec:
        result["initContainers"] = init
    for key in ("volumes", "imagePullSecrets"):
        if listed := _merge_named(spec.get(key) or [], added.get(key, [])):
            result[key] = listed
    return result


def _merged(base: Document, ours: Document) -> Document:
    found: Any = strategic(base, ours)
    return dict(found)


def _with_own(container: Document, own: Document | None) -> Document:
    """As the pod's author wants it."""
    if own is None:
        return container
    change = dict(own)
    if change.get("image") in (AUTO, ""):
        del change["image"]
        if change.get("imagePullPolicy") == "Always":  # what an API server makes of an image without a tag
            del change["imagePullPolicy"]
    if change.get("args", [])[:2] in _OF_ISTIO:
        del change["args"]
    return _merged(container, change)


def _ordered(added: list[Document], kept: list[Document], before: tuple[str, ...]) -> list[Document]:
    """A proxy among them starts right after capture is set up. Without one capture comes last, so that what the others
    send still goes out; and who looks whether it is set up comes first, so that nothing goes past it."""
    capture = [each for each in added if each["name"] in CAPTURE_CONTAINERS]
    proxy = [each for each in added if each["name"] == PROXY_CONTAINER]
    if proxy:
        early = sorted((each for each in kept if each["name"] in before), key=lambda each: before.index(each["name"]))
        late = [each for each in kept if each["name"] not in before]
        return [*capture, *early, *proxy, *late]
    if any(each["name"] == INIT_CONTAINER for each in capture):
        return [*kept, *capture]
    return [*capture, *kept]


def _merge_named(there: list[Document], added: list[Document]) -> list[Document]:
    found = list(there)
    at = {each.get("name"): index for index, each in enumerate(found)}
    for ours in added:
        index = at.get(ours["name"])
        if index is None:
            found.append(ours)
        elif not _covers(found[index], ours):
            found[index] = _merged(found[index], ours)
    return found


def _covers(there: object, ours: object) -> bool:
    """It says all of it; an API server has filled in more."""
    if isinstance(there, Mapping) and isinstance(ours, Mapping):
        return all(name in there and _covers(there[name], value) for name, value in ours.items())
    if isinstance(there, list) and isinstance(ours, list):
        return len(there) == len(ours) and all(map(_covers, there, ours))
    return there == ours
