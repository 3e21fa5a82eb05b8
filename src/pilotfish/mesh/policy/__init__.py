"""DestinationRules: which one counts for a host and a client, and what it comes to (`model.traffic_policy`)."""
