"""The sidecar's brain: what to do with an Envoy, decided without touching one.

    Proxy, ProxyConfig, metadata ─identity─▶ BootstrapSpec ─revision─▶ envoy-revN.json

    Start, Spawned, Exited, Answered, Restart, Drain, Stop, Tick ─▶ Supervisor ─▶ Spawn, Ask, Post, Kill, Hold, Release
                                                            ├ backoff    when to start again
                                                            ├ succession one that takes over from another
                                                            ├ readiness  Envoy's stats → ready, or why not
                                                            ├ intake     where traffic comes in: sidecar, gateway
                                                            ├ held       what is kept open while it is away
                                                            └ draining   what is still under way → whether to stop

    containers ─probes─▶ containers, ProbeTable        (and `health`: gRPC's health check, byte by byte)
    DNS query, NameTable ─names─▶ answer | forward ─resolvers─▶ whom to ask, and for how long
    figures, pages ─metrics─▶ one page

Time is an argument: seconds of any clock that only goes forward.
"""
