"""The sidecar's agent: it gives the pure machine of `pilotfish.agent` its process, sockets and clock.

    AgentSpec ─▶ Agent ─▶ Envoy (uid 1337, in the pod's namespace)
                   │ ▲─ exit, admin /stats
                   ├─ 15020  readiness, merged metrics, the app's probes, /quitquitquit
                   └─ 15053  names of the mesh (from discovery, by long poll), all else to the machine's resolvers

The node process holds the agents of all pods of a machine; `pilotfish agent` runs one. What they have in common (the
HTTP client to discovery, name tables, resolvers) is one `AgentHost`, made by whoever makes the agents:

    async with AgentHost(resolvers=machine_resolvers()) as host:
        agent = Agent(spec, host, on_change=lambda agent: ...)
        await agent.start()                     # AgentError: a port is taken, Envoy is missing, ...
        await agent.wait_ready()                # first configuration acknowledged, listeners live
        agent.status, agent.ready, agent.restarts, agent.pid
        await agent.admin.request("GET", "/config_dump")
        await agent.drain(deadline)             # inbound drains, outbound still works; deadline in loop.time()
        await agent.stop(deadline)              # SIGTERM, SIGKILL at the deadline; closes 15020 and 15053
"""

from pilotfish.runtime.agent.agent import Agent
from pilotfish.runtime.agent.forward import machine_resolvers
from pilotfish.runtime.agent.host import AgentHost
from pilotfish.runtime.agent.spec import AgentError, AgentSpec, AgentStatus, AuthoritySpec

__all__ = [
    "Agent",
    "AgentError",
    "AgentHost",
    "AgentSpec",
    "AgentStatus",
    "AuthoritySpec",
    "machine_resolvers",
]
