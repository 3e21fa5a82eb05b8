"""Whose each step of a way is: the user's object, down to the field that decided.

    Step ─┬─ what the proxy itself says of a route, chain or cluster (`explain.written`)
          └─ what the mesh knows of its name (`queries`): a Service's port, a Gateway's server, a Sidecar's egress …

`finding` asks by where the step is: `client`, `gateway`, `server`, or in a pod's rules (`past`). Each gives claims, the
first of which holds. A cluster is his who sends there, its endpoints are his who says which they are (`sending`).
`fields` knows the documents.
"""

from pilotfish.offline.owners.finding import Locate, describe_subset, find_fields, find_owners, locate_in

__all__ = ("Locate", "describe_subset", "find_fields", "find_owners", "locate_in")
