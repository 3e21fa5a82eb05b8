"""What the API server refuses, and that it is not to be reached."""

from __future__ import annotations

from dataclasses import replace

from pilotfish.cluster.paths import Attributes
from pilotfish.cluster.status import Refusal
from pilotfish.runtime.errors import MachineError


class Unreachable(MachineError):
    """There was no answer, or none of an API server."""


class ApiError(MachineError):
    """The API server refused."""

    def __init__(self, asked: Attributes, refusal: Refusal, remedy: str = "") -> None:
        said = refusal.message or refusal.reason or f"status {refusal.code}"
        super().__init__(f"the API server refuses to {asked.verb} {asked.what}: {said}", remedy)
        self.asked = asked
        self.code = refusal.code
        """As HTTP's: 404, 409, 410, 422, ..."""
        self.reason = refusal.reason
        """NotFound, AlreadyExists, Conflict, Expired, Invalid, ..."""
        self.said = refusal.message
        self.retry_after = refusal.retry_after


class Forbidden(ApiError):
    """A permission is missing: that to `asked.verb` `asked.resource` of `asked.group` in `asked.namespace`."""

    def __init__(self, asked: Attributes, refusal: Refusal) -> None:
        scope = "a Role there or a ClusterRole" if asked.namespace else "a ClusterRole"
        MachineError.__init__(
            self,
            f"the API server forbids {refusal.user or 'this user'} to {asked.verb} {asked.what}",
            f"allow it by {scope} with {asked.rule}",
        )
        self.asked = asked
        self.code = refusal.code
        self.reason = refusal.reason
        self.said = refusal.message
        self.retry_after = refusal.retry_after


class Unauthorized(ApiError):
    """The API server does not know who asks."""

    def __init__(self, asked: Attributes, refusal: Refusal, origin: str) -> None:
        super().__init__(asked, refusal, f"the credentials of {origin} are not, or no longer, valid: renew them")


def refused(asked: Attributes, refusal: Refusal, origin: str) -> ApiError:
    """`origin`: of the credentials. An admission webhook's 403 is no missing permission: RBAC's names the user."""
    if refusal.code == 401:
        return Unauthorized(asked, refusal, origin)
    if refusal.code == 403 and refusal.user:
        return Forbidden(replace(asked, verb=refusal.verb or asked.verb), refusal)
    return ApiError(asked, refusal)
