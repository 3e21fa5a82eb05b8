"""What gateways listen for, and where they send it.

    Gateway ──servers──▶ Server ──merging──▶ Merged ─┬─listeners──▶ model.gateway.GatewayListener
    VirtualService ──bindings───────────────────────▶┴─hosts──────▶ model.gateway.GatewayHost

`selection` says which Gateways a proxy is meant by, and which of its ports stand for theirs (`Front`).
Source: https://istio.io/latest/docs/reference/config/networking/gateway/
"""
