"""The gateway of an old installation, with the Secret that such a one mounts."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.certificates import issue, secret
from tests.config.test_old_gateway import OLD_GATEWAY
from tests.e2e.harness import Mesh, running_mesh
from tests.e2e.test_gateway import INGRESS, SHOP, published
from tests.waiting import wait_until

GATEWAY = """
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {name: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls:
      mode: SIMPLE
      serverCertificate: /etc/istio/ingressgateway-certs/tls.crt
      privateKey: /etc/istio/ingressgateway-certs/tls.key
"""
NAME = "shop.example.com"


def _shown(mesh: Mesh) -> str:
    """Who is shown at the published port, and what is answered."""
    found = published(mesh, f"{INGRESS}:443")
    assert found is not None
    host, _, port = found["address"].rpartition(":")
    url = f"https://{NAME}:{port}/cart"
    asked = ("curl", "-skv", "-m", "5", "--resolve", f"{NAME}:{port}:{host}", url)
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    subject = next((line.partition("CN=")[2] for line in done.stderr.splitlines() if "subject:" in line), "")
    return f"{subject} {done.stdout}".strip()


def _told(mesh: Mesh) -> list[dict[str, Any]]:
    return [each for each in mesh.status["problems"] if each["reason"] == "UnusableFile"]


def test_it_runs_and_its_files_may_come_later_and_change() -> None:
    texts = {"shop.yaml": SHOP, "gateway.yaml": GATEWAY, "installation.yaml": OLD_GATEWAY}
    with running_mesh("e2e-old-gateway", texts) as mesh:
        (pod,) = mesh.pods("istio-ingressgateway")
        assert [each["name"] for each in pod["containers"]] == ["istio-proxy"]
        address = (published(mesh, f"{INGRESS}:80") or {})["address"]
        asked = ("curl", "-s", "-m", "5", "-H", f"Host: {NAME}", f"http://{address}/cart")
        assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "/cart", (
            "the other port is up"
        )
        (problem,) = wait_until("what lacks is told", lambda: _told(mesh))
        assert (problem["kind"], problem["name"]) == ("Gateway", "shop")
        assert problem["field"] == "spec.servers[1].tls.serverCertificate"
        assert "ingressgateway-certs/tls.crt can't be read: No such file" in problem["message"]
        assert _shown(mesh) == ""
        for name in ("first", "second"):
            issued = issue(name)
            mesh.write(
                "secret.yaml",
                secret("istio-ingressgateway-certs", "istio-system", tls_crt=issued.pem, tls_key=issued.key),
            )
            wait_until(f"{name} is shown", lambda name=name: _shown(mesh) == f"{name} /cart")  # type: ignore[misc]
        wait_until("nothing lacks", lambda: not _told(mesh))
