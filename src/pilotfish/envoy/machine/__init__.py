"""One Envoy for the pods of a machine: what their own would have, put together.

Everything is made for a pod's own proxy first, by the modules above; here it becomes one set (`resources`), which says
of each connection whose it is (`places`), leads it to what its pod sees (`chain_matcher`, `seats`), and keeps apart
what two pods see otherwise by one name (`variants`).

Source: docs/design/node-proxy.md
"""
