"""What an API server asks an admission webhook, and what it is answered.

    AdmissionReview (bytes) ─parse_review─▶ Review ─...─▶ Answer ─render_answer─▶ AdmissionReview (bytes)

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec

API_VERSION: Final = "admission.k8s.io/v1"
_OLD: Final = "admission.k8s.io/v1beta1"
_MOST_WARNINGS: Final = 20
_LONGEST: Final = 4_000
"""Characters that a client is shown: of all warnings, as API servers bound them, and of a refusal."""


class ReviewError(ValueError):
    """It is no question of an API server: `str` says why."""


class _Kind(msgspec.Struct):
    group: str = ""
    version: str = ""
    kind: str = ""


class _Request(msgspec.Struct, rename="camel"):
    uid: str
    kind: _Kind = msgspec.field(default_factory=_Kind)
    operation: str = ""
    namespace: str = ""
    name: str = ""
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None
    sub_resource: str = ""
    dry_run: bool | None = None


class _Review(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    request: _Request | None = None


_DECODER: Final = msgspec.json.Decoder(_Review)


@dataclass(frozen=True, slots=True)
class Review:
    uid: str
    group: str
    version: str
    kind: str
    operation: str
    """CREATE, UPDATE, DELETE or CONNECT."""
    namespace: str
    name: str
    """"" where the API server is to make one up."""
    object: dict[str, Any] | None
    """As it is to be; None where it goes."""
    old_object: dict[str, Any] | None
    """As it is."""
    subresource: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    allowed: bool = True
    message: str = ""
    """Why not."""
    warnings: tuple[str, ...] = ()
    """What the user is told in any case."""
    patch: Sequence[dict[str, Any]] = ()
    """RFC 6902."""

    @classmethod
    def refuse(cls, reasons: Iterable[str], warnings: tuple[str, ...] = ()) -> Answer:
        return cls(False, _bounded("; ".join(reasons)), warnings)


def parse_review(data: bytes) -> Review:
    """Raises ReviewError."""
    try:
        review = _DECODER.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ReviewError(f"the body is no AdmissionReview: {error}") from error
    if review.api_version == _OLD:
        raise ReviewError(f"{_OLD} is not spoken; write admissionReviewVersions: [v1] in the webhook's configuration")
    if (review.api_version, review.kind) != (API_VERSION, "AdmissionReview"):
        raise ReviewError(f"the body is no AdmissionReview of {API_VERSION}")
    request = review.request
    if request is None:
        raise ReviewError("the AdmissionReview asks nothing: it has no request")
    kind = request.kind
    return Review(
        request.uid,
        kind.group,
        kind.version,
        kind.kind,
        request.operation,
        request.namespace,
        request.name,
        request.object,
        request.old_object,
        request.sub_resource,
        bool(request.dry_run),
    )


def render_answer(uid: str, answer: Answer) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": answer.allowed}
    if warnings := list(_bounded_all(answer.warnings)):
        response["warnings"] = warnings
    if not answer.allowed:
        response["status"] = {
            "status": "Failure",
            "code": HTTPStatus.UNPROCESSABLE_ENTITY,
            "reason": "Invalid",
            "message": answer.message,
        }
    if answer.allowed and answer.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = b64encode(msgspec.json.encode(answer.patch)).decode()
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _bounded_all(texts: Iterable[str]) -> Iterable[str]:
    room = _LONGEST
    for number, text in enumerate(texts):
        if number == _MOST_WARNINGS or len(text) > room:
            return
        room -= len(text)
        yield text
