"""Many requests a second to an API server, where kubectl takes a process for each."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from pilotfish.cluster.paths import collection
from pilotfish.model.kinds import kind_written
from tests.cluster.api_server import ApiServer
from tests.waiting import wait_until

_JSON: Final = {"Content-Type": "application/json"}


class Poster:
    """One connection, as whoever may do everything."""

    def __init__(self, api: ApiServer) -> None:
        context = ssl.create_default_context(cafile=str(api.pki.root))
        context.load_cert_chain(api.pki.folder / "admin.crt", api.pki.folder / "admin.key")
        server = urlsplit(api.url)
        self._connection = http.client.HTTPSConnection(server.hostname or "", server.port, context=context, timeout=30)

    def refusal(self, source: dict[str, Any]) -> str:
        """Of an object in the namespace `default`, with unknown fields told; "" where it would be stored; it is not."""
        version = source["apiVersion"]
        kind = kind_written(source["kind"], version)
        path = collection(kind, "default", version.rpartition("/")[2])
        body = {**source, "metadata": {**source["metadata"], "namespace": "default"}}
        status, said = self._ask("POST", f"{path}?dryRun=All&fieldValidation=Strict", json.dumps(body))
        return "" if status < 300 else str(said.get("message"))

    def everything(self) -> set[str]:
        """All objects of all kinds: `ConfigMap default/kube-root-ca.crt`."""
        found: set[str] = wait_until("all is listed", self._list_everything)
        return found

    def _list_everything(self) -> set[str] | None:
        """None where a kind goes while it is listed."""
        try:
            return self._listed()
        except LookupError:
            return None

    def _listed(self) -> set[str]:
        roots = ["/api/v1"]
        roots += (f"/apis/{group['preferredVersion']['groupVersion']}" for group in self._get("/apis")["groups"])
        found = set()
        for root in roots:
            for kind in self._get(root)["resources"]:
                if "list" in kind["verbs"] and "/" not in kind["name"]:
                    for each in self._get(f"{root}/{kind['name']}")["items"]:
                        metadata = each["metadata"]
                        found.add(f"{kind['kind']} {metadata.get('namespace', '')}/{metadata['name']}")
        return found

    def close(self) -> None:
        self._connection.close()

    def _get(self, path: str) -> Any:
        """Of a kind that has just come, nothing can be listed yet. LookupError of one that has just gone."""

        def answer() -> Any:
            status, said = self._ask("GET", path)
            if status == 404:
                raise LookupError(path)
            assert status in (200, 429), said
            return said if status == 200 else None

        return wait_until(f"{path} is listed", answer)

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        self._connection.request(method, path, body, _JSON)
        with self._connection.getresponse() as answer:
            said = answer.read()
            is_json = (answer.getheader("Content-Type") or "").startswith("application/json")
            return answer.status, json.loads(said) if is_json else {"message": said.decode()}
