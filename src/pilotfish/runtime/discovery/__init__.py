"""The control plane as a process: manifests in, xDS out. What it does is decided in `pilotfish.discovery`.

    files ─inotify, source─▶ DesiredState ─┐
    gRPC ─ads_server─▶ join, receive ──────┼─driver─▶ ControlPlane ─▶ effects ─┬─connection─▶ gRPC
    clock ─▶ tick, push ───────────────────┘                                   └─state─▶ last-good.json

`serve` puts it together; `monitoring` is the HTTP edge: /metrics, /debug for people, `api` for programs.
Everything runs in one thread; what is asked of `derive` is computed where it is asked for.
"""
