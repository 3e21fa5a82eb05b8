"""The only place with effects: sockets, processes, files, the clock. What is decided is decided in the pure folders.

    linux      the kernel: namespaces, processes, mounts, netlink, inotify
    images     what containers are made from, by way of podman
    http       asking over HTTP, bounded in time and size
    net        a mesh's namespaces, links and addresses, and what is left of them; Services' addresses in the kernel
                                                                                    drives `pilotfish.servicenet`
    capture    packet filter rules into and out of a namespace                      drives `pilotfish.capture`
    agent      a sidecar: Envoy, health, probes, DNS                                drives `pilotfish.agent`
    source     where the user's objects come from: files                            feeds `pilotfish.config`
    discovery  the control plane: gRPC and HTTP                                     drives `pilotfish.discovery`
    node       `pilotfish up`: one machine's mesh                                   drives `pilotfish.node`
    control    the command line's way into a running mesh: client, server, views

`errors` is what the machine, not the user's configuration, refuses; `thread` is where calls go that may block;
`garbage` says how often Python looks for some.
"""
