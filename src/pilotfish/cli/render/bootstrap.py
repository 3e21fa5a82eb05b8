"""What Envoy was started with, in a few lines."""

from __future__ import annotations

from pilotfish.cli.render.dump import Json, at, items, socket_address, text


def render_bootstrap(document: Json) -> str:
    """`document` is `{"bootstrap": ...}`, as the config dump has it."""
    node = at(document, "bootstrap", "node")
    version = at(node, "user_agent_build_version", "version")
    numbers = ".".join(text(version, key) or "0" for key in ("major_number", "minor_number", "patch"))
    host, port = socket_address(at(document, "bootstrap", "admin", "address"))
    lines = (
        ("Envoy Version", numbers),
        ("Node ID", text(node, "id")),
        ("Admin", f"{host}:{port}"),
        ("xDS", ", ".join(_discovery(document))),
    )
    return "".join(f"{name}: {value}\n" for name, value in lines)


def _discovery(document: Json) -> list[str]:
    """The addresses of the cluster that the dynamic resources come from."""
    services = items(document, "bootstrap", "dynamic_resources", "ads_config", "grpc_services")
    names = {text(service, "envoy_grpc", "cluster_name") for service in services}
    found = []
    for cluster in items(document, "bootstrap", "static_resources", "clusters"):
        if text(cluster, "name") in names:
            for group in items(cluster, "load_assignment", "endpoints"):
                for endpoint in items(group, "lb_endpoints"):
                    host, port = socket_address(at(endpoint, "endpoint", "address"))
                    found.append(f"{host}:{port}" if port else f"unix://{host}")
    return found
