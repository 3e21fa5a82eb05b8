"""Who is there: workloads, services, the endpoints that serve them, their names, and the addresses they answer at."""
