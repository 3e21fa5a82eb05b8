"""The node's process, of DaemonSet `pilotfish-cni`: it captures for pods that have no rights of their own.

image/cni.c ─socket─▶ server ─Request─▶ captures ─Pod from the API server─▶ rules in the pod's network namespace
                                            ▲
the node's pods ─watch─▶ repair ────────────┘ those that started without
conf dir ─inotify─▶ chained                  the plugin is in the runtime's configuration, and stays in it
"""
