"""What the kernel does for us, one file for each thing that it has: nothing here knows of meshes, pods or Envoy.

    ProcessSpec ─process─▶ fork ─launch─▶ namespace, mounts, user, limits ─exec─▶ Process ─▶ exit code; output ─▶ logs
    name ─netns, loopback─▶ NetNs ─netlink, command─▶ what is in it
    folder ─inotify─▶ what changed

`mounts`, `rootfs` (an image in the place of the machine's files), `accounts` (its users) and `syscalls` are what
`launch` and `netns` are made of; `cgroups` holds limits.
"""
