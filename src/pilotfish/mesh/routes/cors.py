"""Which pages of other origins may ask, in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#CorsPolicy
"""

from __future__ import annotations

from pilotfish.config import istio
from pilotfish.mesh.routes.matches import lower_string
from pilotfish.model.route import CORS, MatchType, StringMatch


def lower_cors(source: istio.CorsPolicy | None) -> CORS | None:
    if source is None:
        return None
    of_old = (StringMatch(MatchType.EXACT, origin) for origin in source.allow_origin)
    return CORS(
        origins=(*map(lower_string, source.allow_origins), *of_old),
        methods=source.allow_methods,
        headers=source.allow_headers,
        expose_headers=source.expose_headers,
        max_age=source.max_age,
        credentials=bool(source.allow_credentials),
        forward_unmatched=source.unmatched_preflights != "IGNORE",
    )
