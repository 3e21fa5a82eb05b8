"""What a connection manager makes of a path before anything looks at it.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_conn_man/header_sanitizing
"""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import unquote

from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

_UNRESERVED: Final = re.compile(r"%(2[dDeE]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF]|7[eE])")
_ESCAPED: Final = re.compile(r"%(2[fF]|5[cC])")
_DECODING: Final = (
    HttpConnectionManager.PathWithEscapedSlashesAction.UNESCAPE_AND_FORWARD,
    HttpConnectionManager.PathWithEscapedSlashesAction.UNESCAPE_AND_REDIRECT,
)


def normalise(path: str, manager: HttpConnectionManager) -> str:
    """The query stays; a fragment goes."""
    only, mark, query = path.partition("#")[0].partition("?")
    if manager.path_with_escaped_slashes_action in _DECODING:
        only = _ESCAPED.sub(lambda found: unquote(found[0]), only)
    if manager.normalize_path.value:
        only = resolve(only)
    if manager.merge_slashes:
        only = re.sub("//+", "/", only)
    return f"{only}{mark}{query}"


def resolve(path: str) -> str:
    """Unreserved characters decoded, dots resolved, `\\` is `/`. What follows a `;` in a segment of dots is not told
    from the dots."""
    decoded = _UNRESERVED.sub(lambda found: unquote(found[0]), path).replace("\\", "/")
    decoded = re.sub(r"/(\.\.?);[^/]*", r"/\1", decoded)
    if "/." not in decoded:
        return decoded
    folded = re.sub("//+", lambda found: "/\0" * (len(found[0]) - 1) + "/", decoded)
    resolved = posixpath.normpath(folded).replace("\0", "")
    keeps_slash = decoded.endswith(("/", "/.", "/..")) and not resolved.endswith("/")
    return f"{resolved}/" if keeps_slash else resolved
