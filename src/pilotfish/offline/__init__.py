"""The mesh that manifests would make, though none runs: what `validate`, `analyze`, `xds render` and `diff` look at.

    texts ─reading─▶ DesiredState ─planning─▶ DesiredState with addresses ─world─▶ World: Mesh, proxies, Problems
                                                       World, Proxy ─rendering─▶ what the proxy would be sent
                                                              World ─analysis─▶ Findings, with Istio's codes
                                                       World, World ─difference─▶ what changes in which proxies
                                                       World, Trace ─owners─▶ whose each step of a request's way is

Everything is what a mesh would compute, by the same functions; only addresses are made up, as nobody gave any.
"""
