"""How the command line talks to a running mesh: JSON over HTTP on a unix socket in the mesh's directory.

    command ─client─▶ control.sock ─server─▶ Operations (runtime.node) ─▶ views ─▶ JSON ─client─▶ views

`views` holds what travels, `server` answers inside `up`, `client` asks.
"""
