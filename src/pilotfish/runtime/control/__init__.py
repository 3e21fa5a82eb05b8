"""How the command line talks to a running mesh: JSON over HTTP on a unix socket in the mesh's directory.

`views` holds what travels, `server` answers inside `up`, `client` asks.
"""
