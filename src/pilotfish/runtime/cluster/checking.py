"""What `check` reads of a cluster, before an installation and after it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pilotfish.cluster.paths import collection
from pilotfish.config.injection import REVISION, named_by
from pilotfish.install.examination import Installed
from pilotfish.install.injecting import trial
from pilotfish.install.inventory import DEFINITION, REMOVED, labels_of, ref_of
from pilotfish.install.names import TAG, Names, Object
from pilotfish.install.preflight import SETTINGS, Cluster
from pilotfish.install.progress import unready
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import CONFIG_MAP, KINDS, NAMESPACE, NODE, POD
from pilotfish.model.wellknown import ROOT_CONFIG_MAP
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.errors import ApiError, Forbidden
from pilotfish.runtime.cluster.installation import listed, read
from pilotfish.runtime.cluster.readiness import explain
from pilotfish.runtime.cluster.replicas import find_control_plane, merge_syncs
from pilotfish.runtime.control.views import SyncView
from pilotfish.runtime.errors import MachineError

_GROUPS: Final = frozenset(kind.group for kind in KINDS if kind.is_istio)
_SYSTEM: Final = "kube-system"


async def read_cluster(api: Api) -> Cluster:
    """What may not be read is left out: a check is for whoever has not every right."""
    settings = [await _allowed(api, CONFIG_MAP.ref(_SYSTEM, name)) for name in SETTINGS]
    definitions = await _all_allowed(api, DEFINITION)
    return Cluster(
        version=(await api.get("/version"))["gitVersion"],
        nodes=await _all_allowed(api, NODE),
        namespaces=await _all_allowed(api, NAMESPACE),
        definitions=tuple(each for each in definitions if each["spec"]["group"] in _GROUPS),
        webhooks=(*await _all_allowed(api, REMOVED[0]), *await _all_allowed(api, REMOVED[1])),
        settings=tuple(each for each in settings if each is not None),
    )


async def _all_allowed(api: Api, kind: Kind) -> tuple[Object, ...]:
    try:
        return tuple(await listed(api, kind))
    except Forbidden:
        return ()


async def _allowed(api: Api, ref: ObjectRef) -> Object | None:
    try:
        return await read(api, ref)
    except Forbidden:
        return None


async def read_installed(api: Api, names: Names, wanted: Iterable[Object]) -> Installed:
    objects = {ref: await read(api, ref) for ref in map(ref_of, wanted)}
    for each in await listed(api, REMOVED[0]):
        if TAG in labels_of(each) and labels_of(each).get(REVISION) == names.label:
            objects[ref_of(each)] = each
    namespaces = tuple(await listed(api, NAMESPACE))
    tried, refusal = await _try(api, namespaces, names)
    proxies, unasked = await _proxies(api, names)
    return Installed(
        names=names,
        objects=objects,
        roots=await _roots(api, names),
        namespaces=namespaces,
        pods=tuple(await listed(api, POD)),
        tried=tried,
        refusal=refusal,
        proxies=proxies,
        unasked=unasked,
        troubles={ref: await explain(api, live) for ref, live in objects.items() if live is not None and unready(live)},
    )


async def _roots(api: Api, names: Names) -> tuple[str, ...]:
    """As webhook configurations have them."""
    found = await read(api, CONFIG_MAP.ref(names.namespace, ROOT_CONFIG_MAP))
    text = (found or {}).get("data", {}).get("root-cert.pem", "")
    return (b64encode(text.encode()).decode(),) if text else ()


async def _proxies(api: Api, names: Names) -> tuple[Mapping[str, str] | None, str]:
    """What all replicas together say; why they say nothing."""
    try:
        plane = await find_control_plane(api, names.label, names.namespace)
        said = await plane.ask_all()
    except MachineError as error:
        return None, str(error)
    silent = [each for each in said if each.error is not None]
    if len(silent) == len(said):
        return None, str(silent[0].error) if silent else "there is no replica"
    return {proxy: _lacking(sync) for proxy, (sync, _) in merge_syncs(said).items()}, ""


def _lacking(sync: SyncView) -> str:
    state, types = sync.worst
    return "" if sync.synced else sync.error or f"{', '.join(types)} {state}"


async def _try(api: Api, namespaces: Iterable[Object], names: Names) -> tuple[Object | None, str]:
    """In the first namespace that says nothing of sidecars itself."""
    place: Any = next((each for each in namespaces if not _says_anything(each)), None)
    if place is None:
        return None, ""
    try:
        made = await api.send(
            "POST", collection(POD, place["metadata"]["name"]), trial(place, names.label), dryRun="All"
        )
    except ApiError as error:
        return None, error.said or str(error)
    return made, ""


def _says_anything(namespace: Object) -> bool:
    return named_by(labels_of(namespace)) is not None or namespace["metadata"]["name"].startswith("kube-")
