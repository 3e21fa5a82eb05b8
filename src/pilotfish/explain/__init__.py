"""(rules, configuration, request) → the request's way, step by step.

    ResourceSet, Call ─way─▶ Way: listener, filter chain, virtual host, route, clusters, or why no further
                       ├ listeners   listener and filter chain
                       └ routes      virtual host and route

`accesslog` reads what Envoy wrote about a request that really happened.
"""
