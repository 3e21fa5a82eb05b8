"""Asking a Kubernetes cluster's API server.

    $KUBECONFIG, a pod's account ─access─▶ Access ─credentials─▶ TLS, headers ─api─▶ objects, pages, watches
                                                                               └─port_forward─▶ a pod's port

Whatever is not answered is a `MachineError` (`errors`), which names what was asked and the remedy.
"""
