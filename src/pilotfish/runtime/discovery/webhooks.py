"""HTTPS on 15017: what an API server asks before it stores a pod, or an object of Istio's kinds.

    POST /inject, /inject/cluster/NAME/net/NETWORK ─▶ inject.pod ─▶ a JSON patch
    POST /validate ────────────────────────────────▶ cluster.validation

The certificate is of the mesh's authority; each handshake is given the one that holds then. Nothing is changed by a
question, whether or not it is a dry run. Those about large objects are answered in a thread, so that no
proxy waits for them.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from pilotfish.cluster.review import Answer, Review, ReviewError, parse_review, render_answer
from pilotfish.cluster.validation import describe, judge
from pilotfish.config.desired import DesiredState
from pilotfish.config.kubernetes import ConfigMap
from pilotfish.config.report import Report
from pilotfish.inject.pod import Installation, inject
from pilotfish.inject.proxy_config import by_age
from pilotfish.inject.values import VALUES_KEY, InjectionValues, parse_values
from pilotfish.inject.webhooks import INJECT_PATH, VALIDATE_PATH, read_environment
from pilotfish.model import Problem, Severity
from pilotfish.model.kinds import CONFIG_MAP
from pilotfish.runtime.closing import stop_serving
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.admissions import Admissions, Outcome
from pilotfish.runtime.discovery.listening import open_listening, port_of
from pilotfish.runtime.http.served import LOG
from pilotfish.runtime.thread import in_thread

_log = logging.getLogger(__name__)
_LARGEST: Final = 8 * 2**20
"""Bytes of a question: an API server takes objects of 3 MB, and tells both the old and the new one."""
_IN_ONE_GO: Final = 32 * 1024
"""Bytes of a question that is answered in the loop: a thread would take longer to start."""
_PATIENCE: Final = 8.0
"""Seconds for a question to come and be answered: less than the API server waits, so that it hears why."""
_HANDSHAKE: Final = 5.0
_MOST_CONNECTIONS: Final = 256
_AT_ONCE: Final = 2
"""Questions that are worked on."""
Answered = tuple[Answer, Outcome]
Answerer = Callable[[Review, Mapping[str, str]], Answered]


class Webhooks:
    """`follow` whenever the objects change; `listen`, and `close`."""

    def __init__(self, context: Callable[[], ssl.SSLContext], admissions: Admissions, config_map: str) -> None:
        """`context` is asked for at each connection. `config_map`: the name of that with the installation's values."""
        self._context = context
        self._admissions = admissions
        self._config_map = config_map
        self._desired = DesiredState()
        self._made: tuple[DesiredState, InjectionValues, Installation] | None = None
        """Of what the installation was made that was asked for last."""
        self._values: InjectionValues | None = None
        """None as long as nothing usable is known of them."""
        self._values_text: str | None = None
        self._why_not = "discovery has not read the mesh's configuration yet"
        self._at_work = asyncio.Semaphore(_AT_ONCE)
        self._server = web.Server(self._handle, access_log=None, logger=LOG, keepalive_timeout=30)
        self._listener: asyncio.Server | None = None

    def follow(self, desired: DesiredState) -> None:
        """The user's objects are these now. Values that can't be used leave the last good ones in force."""
        self._desired = desired
        self._read_values(desired)

    async def listen(self, address: Address) -> Address:
        """Raises OSError."""
        self._listener = await asyncio.get_running_loop().create_server(
            self._connection, sock=open_listening(address), ssl=self._first(), ssl_handshake_timeout=_HANDSHAKE
        )
        return Address(address.host, port_of(self._listener.sockets[0]))

    async def close(self) -> None:
        if self._listener is not None:
            await stop_serving(self._listener)
        self._server.pre_shutdown()
        await self._server.shutdown(1.0)

    def _first(self) -> ssl.SSLContext:
        """Each connection begins with it, and goes on with the one that holds when it comes."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._choose
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        try:
            connection.context = self._context()
        except ValueError as error:  # there is no certificate to show
            _log.warning("an API server is not answered: %s", error)
            return ssl.AlertDescription.ALERT_DESCRIPTION_INTERNAL_ERROR
        return None

    def _connection(self) -> asyncio.BaseProtocol:
        if len(self._server.connections) >= _MOST_CONNECTIONS:
            return _Refused()
        return self._server()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        answerer, environment = self._find(request.path)
        if answerer is None:
            return web.Response(status=404, text=f"there are {INJECT_PATH} and {VALIDATE_PATH}\n")
        if request.method != "POST":
            return web.Response(status=405, text="an API server asks by POST\n")
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._answer(await _read(request), answerer, environment)
        except ReviewError as error:
            self._admissions.misunderstood()
            return web.Response(status=400, text=f"{error}\n")
        except TimeoutError:
            self._admissions.misunderstood()
            return web.Response(status=504, text=f"the question was not answered within {_PATIENCE:g} s\n")

    def _find(self, path: str) -> tuple[Answerer | None, Mapping[str, str]]:
        if path == VALIDATE_PATH:
            return self._validate, {}
        environment = read_environment(path)
        return (None, {}) if environment is None else (self._inject, environment)

    async def _answer(self, body: bytes, answerer: Answerer, environment: Mapping[str, str]) -> web.Response:
        began = time.monotonic()
        async with self._at_work:

            def work() -> tuple[Review, Answered]:
                asked = parse_review(body)
                return asked, answerer(asked, environment)

            review, (answer, outcome) = work() if len(body) <= _IN_ONE_GO else await in_thread(work)
            self._admissions.count(review, outcome, time.monotonic() - began)
            if not answer.allowed:
                _log.info("%s %s/%s is refused: %s", review.kind, review.namespace, review.name, answer.message)
            return web.Response(body=render_answer(review.uid, answer), content_type="application/json")

    def _validate(self, review: Review, environment: Mapping[str, str]) -> Answered:
        answer = judge(review)
        return answer, Outcome.PASSED if answer.allowed else Outcome.FAILED

    def _inject(self, review: Review, environment: Mapping[str, str]) -> Answered:
        if (review.group, review.kind, review.operation) != ("", "Pod", "CREATE") or review.object is None:
            return Answer(), Outcome.SKIPPED
        if self._values is None:
            return Answer.refuse([self._why_not]), Outcome.REFUSED
        installation = self._installation(self._values).with_environment(environment)
        found = inject(review.object, installation, namespace=review.namespace)
        warnings = tuple(describe(problem) for problem in found.problems if problem.severity is Severity.WARNING)
        errors = [describe(problem) for problem in found.problems if problem.severity is Severity.ERROR]
        if errors:
            return Answer.refuse(errors, warnings), Outcome.REFUSED
        return Answer(warnings=warnings, patch=found.patch), Outcome.INJECTED if found.has_proxy else Outcome.SKIPPED

    def _installation(self, values: InjectionValues) -> Installation:
        """Objects change more often than pods are made."""
        desired = self._desired
        if self._made is None or self._made[0] is not desired or self._made[1] is not values:
            configs = by_age(manifest.resource for manifest in desired.manifests.values())
            self._made = desired, values, Installation(desired.mesh_config, values, configs)
        return self._made[2]

    def _read_values(self, desired: DesiredState) -> None:
        """Where they can't be used, that is said."""
        ref = CONFIG_MAP.ref(desired.mesh_config.root_namespace, self._config_map)
        manifest = desired.manifests.get(ref)
        resource = manifest.resource if manifest is not None else None
        text = resource.data.get(VALUES_KEY) if isinstance(resource, ConfigMap) else None
        if text is None:
            self._why_not = (
                f"discovery does not know what to inject: {ref} has no key {VALUES_KEY!r}; pilotfish install"
            )
            return
        if text == self._values_text:
            return
        self._values_text = text
        report = Report(ref, "", fixed_source=manifest.source if manifest is not None else None)
        values = parse_values(text, report, f"data.{VALUES_KEY}")
        for problem in report.problems:
            _log.warning("%s", problem)
        if values is None:
            self._why_not = _describe(report.problems)
        else:
            self._values = values


class _Refused(asyncio.Protocol):
    """There are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def _read(request: web.BaseRequest) -> bytes:
    """Raises ReviewError."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > _LARGEST:
            raise ReviewError(f"the question is longer than {_LARGEST} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _describe(problems: list[Problem]) -> str:
    said = "; ".join(str(problem) for problem in problems if problem.severity is Severity.ERROR)
    return f"discovery does not know what to inject, as the installation's values can't be used: {said}"
