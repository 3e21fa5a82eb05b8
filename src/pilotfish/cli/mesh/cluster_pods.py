"""A cluster's pods: as few as are asked for, as there may be many, and not all may be seen."""

from __future__ import annotations

from typing import Any

import msgspec

from pilotfish.cluster.paths import collection, item
from pilotfish.model import Kind
from pilotfish.model.kinds import POD, SERVICE
from pilotfish.model.target import Target
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.background import at_most
from pilotfish.runtime.cluster.describe import Pod, Service, describe_pod, describe_service, find_capture
from pilotfish.runtime.cluster.errors import ApiError
from pilotfish.runtime.control.views import PodsView, PodView


class ClusterPods:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[tuple[str, str], Pod] = {}
        """As they were last seen."""

    def capture_of(self, pod: PodView) -> tuple[str, ...] | None:
        """The flags by which the traffic of a pod that was seen is captured; None where it is not."""
        known = self._known.get((pod.namespace, pod.name))
        return find_capture(known) if known is not None else None

    async def read(self, namespace: str = "", **params: Any) -> list[PodView]:
        """Of a namespace, or of all."""
        pages = self._api.pages(collection(POD, namespace), shape=Pod, **params)
        return [self._keep(pod) async for page in pages for pod in page.items]

    async def get(self, namespace: str, name: str) -> PodView | None:
        try:
            return self._keep(msgspec.json.decode(await self._api.read(item(POD, namespace, name)), type=Pod))
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    async def find(self, target: Target) -> PodsView:
        """The pods and Services among which those are that are meant. What may not be asked of a reading is no matter
        where another finds some."""
        views = await at_most(2, lambda reading: self._find(target.kind, *reading), target.readings)
        found = [each for each in views if isinstance(each, PodsView)]
        error = next((each for each in views if isinstance(each, Exception)), None)
        if error is not None and not any(each.pods or each.services for each in found):
            raise error
        return PodsView(
            pods=tuple(pod for each in found for pod in each.pods),
            services=tuple(service for each in found for service in each.services),
        )

    async def _find(self, kind: Kind | None, namespace: str, name: str) -> PodsView:
        if kind is None or kind is POD:
            return PodsView(pods=tuple(filter(None, [await self.get(namespace, name)])))
        if kind is not SERVICE:
            return PodsView(pods=tuple(await self.read(namespace)))
        try:
            found = msgspec.json.decode(await self._api.read(item(SERVICE, namespace, name)), type=Service)
        except ApiError as error:
            if error.code != 404:
                raise
            return PodsView()
        labels = ",".join(f"{key}={value}" for key, value in (found.spec.selector or {}).items())
        pods = await self.read(namespace, labelSelector=labels) if labels else []
        return PodsView(pods=tuple(pods), services=(describe_service(found),))

    def _keep(self, pod: Pod) -> PodView:
        self._known[pod.metadata.namespace, pod.metadata.name] = pod
        return describe_pod(pod)
