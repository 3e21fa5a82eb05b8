"""An app that says who it is, and a client that says what it saw: what real requests are tried out with, in pods.

Both are programs of their own that need the standard library alone, so that any Python of the machine may run them:
`server.py` where an app would be, `client.py` with calls from `calls.py`.
"""
