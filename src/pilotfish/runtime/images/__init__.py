"""Images of this machine, by way of podman: which there are, and pulling those that are not there.

    name ─local─▶ podman image inspect ─▶ Image        none ─pull─▶ podman pull ─▶ progress
    Image ─store─▶ kept while a pod of the mesh runs it (a container that podman never starts)

podman has the images alone. Containers are this project's own, as processes are: docs/design/images.md says why.
"""
