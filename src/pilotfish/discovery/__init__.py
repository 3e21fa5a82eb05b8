"""What every proxy should have, who refused what, and which object keeps its last good form. No sockets, no clock.

    DesiredState ─plane.change─▶ Mesh (derive.Graph) ─▶ ResourceSet ─plane.push─▶ ads.Stream ─▶ effects
                                  ▲                                                 │    ▲
                    Quarantine ───┴──────────────────── refused, accepted ◀─────────┘    └─ plane.receive, tick

`plane` is the state machine that `runtime.discovery` drives; `session` is one proxy's part of it, `effects` what comes
out. `admission` is who is let in, `voting` whose fault a refusal is, `patience` who is waited for, `isolation` which
objects a fault of our own comes from. `memory` is what outlives a restart. `findings`, `standing`, `dump` and `debug`
say what the plane knows.
"""
