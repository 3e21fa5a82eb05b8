"""What the kernel does for us, one file for each thing that it has: nothing here knows of meshes, pods or Envoy."""
