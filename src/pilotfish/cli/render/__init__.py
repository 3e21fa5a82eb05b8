"""Views and documents → text, as kubectl and istioctl lay it out. Pure: `now` is an argument.

views ─pods | services | proxies | status | ...─▶ Table ─▶ text
Envoy's config dump ─listeners | routes | clusters | endpoints─▶ Table ─▶ text
any of them ─documents─▶ JSON or YAML
"""
