"""Asking over HTTP: one request, one connection, one answer; bounded in time and size, as the peer may lie or stall.

    Request ─▶ bytes ─▶ socket ─▶ bytes ─parse_answer─▶ Answer ─read(shape)─▶ a typed value, or OSError

`message` is the text of both; `loop` asks without blocking the event loop, `blocking` asks for the command line, which
pays for what it imports. `small` is the agent's server, `served` what aiohttp's servers say in the log. The caller
makes the socket: in a pod's namespace, as the sidecar's user, or a unix one.
"""
