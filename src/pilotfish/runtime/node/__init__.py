"""`pilotfish up`: makes and keeps a mesh on this machine.

    sources ─watch─▶ Store ─▶ deployments ─▶ pods ─▶ namespaces, processes, Envoys
                       └────▶ config/objects.json ─▶ discovery        control.sock ─▶ the command line

`run(options, on_event)` works in the foreground until SIGINT, SIGTERM or `down`, and returns the exit code;
`detach(options, on_event)` starts the same in the background and returns when all is ready.
"""
