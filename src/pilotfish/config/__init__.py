"""One document (dict) → one typed resource, or Problems. Kubernetes and Istio kinds; no files, no cluster.

    text ─yaml.read─▶ Document ─decode─▶ Manifest | Problems

`kubernetes` and `istio` hold the kinds as frozen structs with the API's own field names (camelCase in YAML, snake_case
here). A field that a struct lacks is never dropped: it is an `UnknownField`, or an `UnsupportedField` where the API
has it and pilotfish does not use it.
"""
