"""The gRPC services by which agents get certificates and follow the roots. Both come over TLS alone.

Source: https://github.com/istio/api/blob/master/security/v1alpha1/ca.proto
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc

from pilotfish.discovery.admission import Caller, Reason, Refusal
from pilotfish.identity.messages import (
    CREATE,
    ROOTS,
    ROTATE,
    decode_request,
    encode_chain,
    encode_roots,
)
from pilotfish.identity.requests import BadRequestError, SigningRequest, parse_request
from pilotfish.identity.tokens import Claims
from pilotfish.mesh.certificates import UnusableError
from pilotfish.model.identity import Identity
from pilotfish.model.renewal import DEFAULT_TTL, LONGEST_TTL
from pilotfish.runtime.discovery.authority import AuthorityKeeper, NotYetError
from pilotfish.runtime.discovery.callers import Callers, NotServedError
from pilotfish.runtime.discovery.driver import Driver

_log = logging.getLogger(__name__)
_STILL: Final = 30.0
"""Seconds after which roots that have not changed are said again: a peer that is gone is noticed so."""
_NEWS: Final = 1.0
"""Seconds for which an agent waits for the news of its pod, which may come after it."""
_COST: Final = 0.002
"""Seconds of computing that a signature takes, at most."""
_CODES: Final = {
    Reason.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.UNPROVEN: grpc.StatusCode.UNAVAILABLE,
}
_Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
_Shown = tuple[Caller, Claims | None]


class CertificateServer:
    def __init__(self, driver: Driver, authority: AuthorityKeeper, callers: Callers) -> None:
        self._driver = driver
        self._authority = authority
        self._callers = callers

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        methods = {
            CREATE: grpc.unary_unary_rpc_method_handler(self._answered(self._create), None, None),
            ROTATE: grpc.unary_unary_rpc_method_handler(self._answered(self._rotate), None, None),
            ROOTS: grpc.unary_stream_rpc_method_handler(self._follow, None, None),
        }
        return tuple(_service(path, method) for path, method in methods.items())

    def _answered(
        self, work: Callable[[bytes, _Context], Awaitable[bytes]]
    ) -> Callable[[bytes, _Context], Awaitable[bytes]]:
        """With its place, and with the status of what it is refused for."""

        async def answer(body: bytes, context: _Context) -> bytes:
            host = self._host(context)
            try:
                self._enter(host)
                try:
                    return await work(body, context)
                finally:
                    self._driver.door.leave(host)
            except NotServedError as error:
                await self._refuse(context, host, error.refusal)
            except asyncio.CancelledError:
                raise
            except Exception:
                _log.exception("a request of %s fails", host)
                self._driver.metrics.internal_errors.inc()
                await context.abort(grpc.StatusCode.INTERNAL, "internal error; see discovery's log")
            return b""

        return answer

    async def _create(self, body: bytes, context: _Context) -> bytes:
        caller, claims = await self._shown(context)
        rest = self._driver.door.pace(caller.host).rest(_COST, time.monotonic())
        if rest:
            await asyncio.sleep(rest)
        try:
            asked = decode_request(body)
            request = parse_request(asked.csr)
            identity = self._entitled(caller, claims, request)
            chain = await self._authority.sign(request, identity, _lifetime(asked.seconds))
        except NotYetError as error:
            raise NotServedError(Refusal(Reason.CERTIFICATE, str(error))) from error
        except ValueError as error:
            raise NotServedError(Refusal(Reason.MALFORMED, str(error))) from error
        _log.info("%s has a certificate for %s", caller.host, identity)
        certificates = [part + b"-----END CERTIFICATE-----\n" for part in chain.split(b"-----END CERTIFICATE-----\n")]
        return encode_chain((*certificates[:-1], self._authority.roots.trusted))

    def _entitled(self, caller: Caller, claims: Claims | None, request: SigningRequest) -> Identity:
        """Whose certificate it may have."""
        if claims is not None and claims.is_operator:
            named = Identity.parse(request.uris[0]) if len(request.uris) == 1 else None
            if named is None or named.trust_domain != self._authority.trust_domain:
                raise BadRequestError(f"name one identity of trust domain {self._authority.trust_domain}")
            return named
        door = self._driver.door
        if caller.identity is None or (claims is None and (door.only_pods or door.in_cluster)):
            raise NotServedError(Refusal(Reason.CERTIFICATE, "a certificate is given for a pod's token"))
        if claims is None and caller.identity.trust_domain not in door.trust_domains:
            raise NotServedError(Refusal(Reason.IDENTITY, f"{caller.identity} is of another trust domain"))
        own = Identity(self._authority.trust_domain, caller.identity.namespace, caller.identity.account)
        others = [uri for uri in request.uris if uri != str(own)] + list(request.names)
        if others:
            raise NotServedError(Refusal(Reason.CERTIFICATE, f"{own} asks for a certificate of {others[0][:200]}"))
        return own

    async def _rotate(self, body: bytes, context: _Context) -> bytes:
        _, claims = await self._shown(context)
        if claims is None or not claims.is_operator:
            raise NotServedError(Refusal(Reason.CERTIFICATE, "roots are changed by who runs the mesh alone"))
        try:
            await self._authority.rotate()
        except UnusableError as error:
            raise NotServedError(Refusal(Reason.MALFORMED, str(error))) from error
        return encode_roots(self._authority.roots)

    async def _follow(self, body: bytes, context: _Context) -> AsyncIterator[bytes]:
        host = self._host(context)
        try:
            self._enter(host)
        except NotServedError as error:
            await self._refuse(context, host, error.refusal)
        try:
            while True:
                roots = self._authority.roots
                yield encode_roots(roots)
                await self._authority.moved.wait_for(lambda: self._authority.roots != roots, _STILL)  # noqa: B023
        finally:
            self._driver.door.leave(host)

    async def _shown(self, context: _Context) -> _Shown:
        """A pod's token may come before the news of it."""
        caller, claims = await self._callers.prove(context.peer(), context.invocation_metadata())
        if not caller.secure:
            raise NotServedError(Refusal(Reason.IDENTITY, "certificates are given over TLS alone"))

        def is_known() -> bool:
            refusal = self._callers.entitle(caller, claims)
            return refusal is None or refusal.reason is not Reason.UNKNOWN

        await self._driver.moved.wait_for(is_known, _NEWS)
        refusal = self._callers.entitle(caller, claims)
        if refusal is not None:
            raise NotServedError(refusal)
        return caller, claims

    def _host(self, context: _Context) -> str:
        return self._callers.host(context.peer())

    def _enter(self, host: str) -> None:
        refusal = self._driver.door.enter(host)
        if refusal is not None:
            raise NotServedError(refusal)

    async def _refuse(self, context: _Context, host: str, refusal: Refusal) -> Any:
        self._driver.turned_away(refusal, host)
        await context.abort(_CODES.get(refusal.reason, grpc.StatusCode.PERMISSION_DENIED), refusal.message)


def _lifetime(seconds: int) -> float:
    """Of a certificate for which so many are asked."""
    if not 0 <= seconds <= LONGEST_TTL:
        raise BadRequestError(f"a certificate for {seconds} s; {LONGEST_TTL:.0f} is the most")
    return seconds or DEFAULT_TTL


def _service(path: str, method: grpc.RpcMethodHandler) -> grpc.GenericRpcHandler:
    _, service, name = path.split("/")
    return grpc.method_handlers_generic_handler(service, {name: method})
