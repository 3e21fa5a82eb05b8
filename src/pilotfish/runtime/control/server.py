"""Answers on `control.sock`, for root alone. Errors are plain text for the user: 400, 404, 500."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from aiohttp import web

from pilotfish.capture import RuleSet
from pilotfish.capture.spec import Family
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.frontend import Frontend
from pilotfish.model.kinds import POD, kind_named
from pilotfish.model.names import NameTable
from pilotfish.model.struct import Frozen
from pilotfish.node.patching import BadPatch
from pilotfish.node.publish import Endpoints, Transport
from pilotfish.runtime.control.client import Unstructured
from pilotfish.runtime.control.views import ChangesView, OwnerView, PublishView, RolloutView, StatusView
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.http.served import LOG
from pilotfish.runtime.linux.unix import bind

_LARGEST = 64 * 1024 * 1024
_LONGEST_WAIT = 300.0


class Ended(Exception):
    """What an operation waits for will not come: the mesh is taken down."""


class Operations(Protocol):
    """What a mesh can be asked. Each is documented in `client.Client`."""

    async def status(self) -> StatusView: ...
    def objects(self, kind: Kind | None, namespace: str, name: str) -> list[Unstructured]: ...
    def names(self, namespace: str, name: str) -> NameTable | None: ...
    async def rules(self, namespace: str, name: str, family: Family) -> RuleSet | None: ...
    def frontends(self) -> list[Frontend]: ...
    async def owners(self, trace: bytes) -> list[OwnerView] | None: ...
    async def apply(self, text: str, file: str, namespace: str) -> ChangesView: ...
    async def delete(self, text: str, file: str, namespace: str) -> ChangesView: ...
    def delete_object(self, ref: ObjectRef) -> ChangesView: ...
    async def patch(self, ref: ObjectRef, change: object, how: str) -> ChangesView: ...
    def scale(self, ref: ObjectRef, replicas: int, current: int | None) -> ChangesView: ...
    def restart(self, ref: ObjectRef) -> ChangesView: ...
    async def restart_proxy(self, namespace: str, name: str) -> bool: ...
    async def rollout(self, ref: ObjectRef, said: str, wait: float) -> RolloutView | None: ...
    async def events(self, since: int, wait: float) -> int: ...
    async def synced(self, wait: float) -> bool: ...
    def endpoints(self, text: str, namespace: str) -> Endpoints: ...
    async def publish(self, text: str, namespace: str) -> PublishView: ...
    async def unpublish(self, address: str, protocol: Transport) -> PublishView | None: ...
    async def down(self) -> None: ...


class Text(Frozen, forbid_unknown_fields=True):
    text: str
    file: str = "-"
    namespace: str = "default"


class Object(Frozen, forbid_unknown_fields=True):
    namespace: str
    name: str
    kind: str
    group: str

    @property
    def ref(self) -> ObjectRef:
        return kind_named(self.kind, self.group).ref(self.namespace, self.name)


class Named(Frozen, forbid_unknown_fields=True):
    namespace: str
    name: str


class Patch(Object):
    change: Any
    how: str = "merge"


class Scale(Object):
    replicas: int
    current: int | None = None


class Publishing(Frozen, forbid_unknown_fields=True):
    text: str
    namespace: str = "default"


class Place(Frozen, forbid_unknown_fields=True):
    address: str
    protocol: Transport = "TCP"


B = TypeVar("B")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlServer:
    def __init__(self, operations: Operations, path: Path) -> None:
        self._operations = operations
        self._path = path
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=_LARGEST, middlewares=[_errors])
        app.add_routes(
            [
                web.get("/status", self._status),
                web.get("/objects", self._objects),
                web.get("/names", self._names),
                web.get("/rules", self._rules),
                web.get("/frontends", self._frontends),
                web.get("/endpoints", self._endpoints),
                web.get("/rollout/status", self._rollout),
                web.get("/events", self._events),
                web.get("/synced", self._synced),
                web.post("/owners", self._owners),
                web.post("/apply", self._apply),
                web.post("/delete", self._delete),
                web.post("/patch", self._patch),
                web.post("/scale", self._scale),
                web.post("/rollout/restart", self._restart),
                web.post("/proxy/restart", self._restart_proxy),
                web.post("/publish", self._publish),
                web.post("/unpublish", self._unpublish),
                web.post("/down", self._down),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, logger=LOG, shutdown_timeout=5)
        await self._runner.setup()
        await web.SockSite(self._runner, bind(self._path)).start()

    async def stop(self) -> None:
        """Answers under way are finished first."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        return _answer(await self._operations.status())

    async def _objects(self, request: web.Request) -> web.Response:
        query = request.query
        kind = kind_named(query["kind"], query.get("group", "")) if "kind" in query else None
        return _answer(self._operations.objects(kind, query.get("namespace", ""), query.get("name", "")))

    async def _names(self, request: web.Request) -> web.Response:
        namespace, name = request.query.get("namespace", "default"), request.query.get("name", "")
        found = self._operations.names(namespace, name)
        if found is None:
            raise _no_pod(namespace, name)
        return _answer(found)

    async def _rules(self, request: web.Request) -> web.Response:
        namespace, name = request.query.get("namespace", "default"), request.query.get("name", "")
        found = await self._operations.rules(namespace, name, 6 if request.query.get("family") == "6" else 4)
        if found is None:
            raise _no_pod(namespace, name)
        return _answer(found)

    async def _frontends(self, request: web.Request) -> web.Response:
        return _answer(self._operations.frontends())

    async def _owners(self, request: web.Request) -> web.Response:
        found = await self._operations.owners(await request.read())
        if found is None:
            raise web.HTTPServiceUnavailable(text="discovery does not answer")
        return _answer(found)

    async def _rollout(self, request: web.Request) -> web.Response:
        query = request.query
        kind = kind_named(query.get("kind", ""), query.get("group", ""))
        ref = kind.ref(query.get("namespace", "default"), query.get("name", ""))
        view = await self._operations.rollout(ref, query.get("said", ""), _seconds(query.get("wait")))
        if view is None:
            what = f'{kind.qualified_plural} "{ref.name}"'
            raise web.HTTPNotFound(text=f'{what} not found in namespace "{ref.namespace}"')
        return _answer(view)

    async def _events(self, request: web.Request) -> web.Response:
        since = request.query.get("since", "-1")
        if not since.lstrip("-").isdecimal():
            raise web.HTTPBadRequest(text=f"since={since} is not a number")
        return _answer(await self._operations.events(int(since), _seconds(request.query.get("wait"))))

    async def _synced(self, request: web.Request) -> web.Response:
        return _answer(await self._operations.synced(_seconds(request.query.get("wait"))))

    async def _apply(self, request: web.Request) -> web.Response:
        body = await _body(request, Text)
        return _answer(await self._operations.apply(body.text, body.file, body.namespace))

    async def _delete(self, request: web.Request) -> web.Response:
        body = await _body(request, dict[str, str])
        if "text" in body:
            text = msgspec.convert(body, Text)
            return _answer(await self._operations.delete(text.text, text.file, text.namespace))
        return _answer(self._operations.delete_object(msgspec.convert(body, Object).ref))

    async def _patch(self, request: web.Request) -> web.Response:
        body = await _body(request, Patch)
        ref = body.ref
        try:
            return _answer(await self._operations.patch(ref, body.change, body.how))
        except BadPatch as error:
            raise web.HTTPBadRequest(text=f"{ref} is not patched: {error}") from error
        except LookupError as error:
            raise web.HTTPNotFound(text=str(error.args[0])) from error

    async def _scale(self, request: web.Request) -> web.Response:
        body = await _body(request, Scale)
        if body.replicas < 0:
            raise web.HTTPBadRequest(text=f"{body.replicas} replicas can't be; use 0 or more")
        return _answer(self._operations.scale(body.ref, body.replicas, body.current))

    async def _restart(self, request: web.Request) -> web.Response:
        return _answer(self._operations.restart((await _body(request, Object)).ref))

    async def _restart_proxy(self, request: web.Request) -> web.Response:
        asked = await _body(request, Named)
        if not await self._operations.restart_proxy(asked.namespace, asked.name):
            raise web.HTTPNotFound(text=f"there is no proxy {asked.name}.{asked.namespace}")
        return _answer({})

    async def _endpoints(self, request: web.Request) -> web.Response:
        try:
            namespace = request.query.get("namespace", "default")
            return _answer(self._operations.endpoints(request.query.get("text", ""), namespace))
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error

    async def _publish(self, request: web.Request) -> web.Response:
        body = await _body(request, Publishing)
        try:
            return _answer(await self._operations.publish(body.text, body.namespace))
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error

    async def _unpublish(self, request: web.Request) -> web.Response:
        body = await _body(request, Place)
        found = await self._operations.unpublish(body.address, body.protocol)
        if found is None:
            raise web.HTTPNotFound(text=f"nothing was published by hand on {body.address} ({body.protocol})")
        return _answer(found)

    async def _down(self, request: web.Request) -> web.Response:
        await self._operations.down()
        return _answer({})


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    except Ended as error:
        raise web.HTTPServiceUnavailable(text="the mesh has been taken down") from error
    except MachineError as error:
        raise web.HTTPInternalServerError(text=str(error)) from error


def _no_pod(namespace: str, name: str) -> web.HTTPNotFound:
    return web.HTTPNotFound(text=f'{POD.plural} "{name}" not found in namespace "{namespace}"')


async def _body(request: web.Request, shape: type[B]) -> B:
    return msgspec.json.decode(await request.read(), type=shape)


def _answer(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _seconds(text: str | None) -> float:
    try:
        return min(max(float(text or 0), 0.0), _LONGEST_WAIT)
    except ValueError:
        raise web.HTTPBadRequest(text=f"wait={text} is not a number of seconds") from None
