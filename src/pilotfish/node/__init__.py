"""What one machine must run: frozen values, and functions (state, event, now) → (state, effects).

    Loaded ─store─▶ Store ─controllers─▶ Create, Remove ─▶ pods ─pod─▶ effects (start, probe, signal, drain ...)
                      ├─services─▶ cluster IPs          launch: Container + Store ─▶ Launch (argv, env, mounts)
                      └─document─▶ objects.json         endpoints, listening ─▶ notes

`store` holds the user's objects and whose they are; `controllers` say which pods there should be, in Kubernetes'
way; `pod`, `container` and `probe` are state machines that are told what happened and what time it is; `launch`,
`environment` and `volumes` turn a container into a process. `derived` and `history` are what a cluster would make of
all that by itself, for who asks; `patching` changes documents. Nothing here starts, reads or waits: `runtime.node`
does.
"""
