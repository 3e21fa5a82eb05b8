"""What the node does for pods of a cluster that do not set up their capture themselves. Nothing here touches the node.

    what the plugin was asked ─request─▶ Request ─▶ the answer, as CNI has it
    a Pod as JSON ─pod─▶ what is to be captured, or nothing ─▶ whether it started without, and has to be repaired
    the runtime's network configuration ─conflist─▶ the same with the plugin in it, or without

`runtime.cni` enters namespaces, writes files and asks the API server.
"""
