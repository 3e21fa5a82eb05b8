"""Arguments in, text and exit codes out: names, flags and output as kubectl and istioctl have them.

    argv ─app─▶ a command's module ─session─┬─▶ who looks: a `Mesh`, here or in a cluster ─▶ views ─render─▶ text
                                            ├─▶ who changes something: the mesh on this machine, by its `Client`
                                            └─target─▶ the pod meant

    KIND NAME ─listing─▶ objects ─┬─ output ─▶ a table, JSON, a JSONPath's text
                                  └─ chosen ─▶ Client.patch, delete ...

`app` knows every command's name and loads only the one that is called. `render` is pure: views to text.
"""

from __future__ import annotations


def main() -> None:
    """The console script."""
    from pilotfish.runtime.garbage import put_off

    put_off()
    from pilotfish.cli.app import pilotfish

    pilotfish()
