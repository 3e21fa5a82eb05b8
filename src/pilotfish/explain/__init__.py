"""(rules, configuration, request) → the request's way, step by step.

`accesslog` reads what Envoy wrote about a request that really happened.
"""
