"""Which listener takes what: a client's traffic to services (`outbound`), and what reaches a workload (`inbound`)."""
