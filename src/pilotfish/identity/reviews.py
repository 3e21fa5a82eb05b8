"""TokenReview: asking an API server whose token it is.

    token ─build_review─▶ POST /apis/authentication.k8s.io/v1/tokenreviews ─read_review─▶ Claims

Unlike who checks the signature, the API server knows whether the pod and the account still are those that the token was
made for. Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.identity.tokens import ACCOUNT, AUDIENCE, Claims, RefusedTokenError
from pilotfish.model.private import reveal

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"


def build_review(token: str) -> dict[str, object]:
    """To be sent, and not to be shown."""
    spec = {"token": reveal(token), "audiences": [AUDIENCE]}
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}


def read_review(answer: Mapping[str, object]) -> Claims:
    """Raises RefusedTokenError."""
    status = _mapping(answer.get("status"))
    if status.get("authenticated") is not True:
        why = str(status.get("error") or "the API server does not know it")
        raise RefusedTokenError(why[:300])
    audiences = _texts(status.get("audiences"))
    user = _mapping(status.get("user"))
    namespace, colon, account = str(user.get("username")).removeprefix(ACCOUNT).partition(":")
    if not str(user.get("username")).startswith(ACCOUNT) or not (namespace and colon and account):
        raise RefusedTokenError("it is no service account's")
    if AUDIENCE not in audiences:
        # An API server that knows nothing of audiences says none.
        raise RefusedTokenError(f"it is for {', '.join(audiences) or 'nobody'}, and not for {AUDIENCE}")
    extra = _mapping(user.get("extra"))
    pod, uid = (next(iter(_texts(extra.get(key))), "") for key in (_POD_NAME, _POD_UID))
    return Claims(namespace, account, pod, uid)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
