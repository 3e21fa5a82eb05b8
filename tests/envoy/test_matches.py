"""Each condition of an HTTP match, with a request that fits and one that does not, through a real Envoy."""

from __future__ import annotations

import pytest

from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, Start

HEAD = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: app, namespace: vm}
spec:
  hosts: [app.example.com]
  addresses: [10.96.0.7]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: also, protocol: HTTP}]
  endpoints: [{address: 10.245.1.2}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: vm}
spec:
  hosts: [app.example.com]
  http:
"""
ROUTE = "  - match: [{match}]\n    directResponse: {{status: 200, body: {{string: 'route {index}.'}}}}\n"
GET, HOST = "GET", "app.example.com"
CASES: dict[str, tuple[str, str]] = {
    "{uri: {exact: /exact}}": ("GET /exact?x=1", "GET /exact/"),
    "{uri: {prefix: /prefix}}": ("GET /prefixed", "GET /Prefix"),
    "{uri: {regex: '/re/[0-9]+'}}": ("GET /re/12?x", "GET /re/12/x"),
    "{uri: {exact: /Upper}, ignoreUriCase: true}": ("GET /uPPER", "GET /uPPERs"),
    "{uri: {prefix: /Lower}, ignoreUriCase: true}": ("GET /lOWERed", "GET /low"),
    "{uri: {prefix: /m1}, method: {exact: PUT}}": ("PUT /m1", "GET /m1"),
    "{uri: {prefix: /m2}, method: {prefix: P}}": ("POST /m2", "GET /m2"),
    "{uri: {prefix: /m3}, method: {regex: 'PUT|POST'}}": ("POST /m3", "OPTIONS /m3"),
    "{uri: {prefix: /s1}, scheme: {exact: http}}": ("GET /s1", ""),
    "{uri: {prefix: /s2}, scheme: {exact: https}}": ("", "GET /s2"),
    "{uri: {prefix: /s3}, scheme: {prefix: ht}}": ("GET /s3", ""),
    "{uri: {prefix: /s4}, scheme: {regex: 'https?'}}": ("GET /s4", ""),
    "{uri: {prefix: /a1}, authority: {exact: 'app.example.com:80'}}": ("GET /a1|app.example.com:80", "GET /a1"),
    "{uri: {prefix: /a2}, authority: {prefix: app.}}": ("GET /a2", ""),
    "{uri: {prefix: /a3}, authority: {regex: 'app[.].*:80'}}": ("GET /a3|app.example.com:80", "GET /a3"),
    "{uri: {prefix: /h1}, headers: {x-a: {exact: one}}}": ("GET /h1|X-A: one", "GET /h1|x-a: One"),
    "{uri: {prefix: /h2}, headers: {x-a: {prefix: 'on'}}}": ("GET /h2|x-a: one", "GET /h2|x-a: none"),
    "{uri: {prefix: /h3}, headers: {x-a: {regex: 'o.e'}}}": ("GET /h3|x-a: ore", "GET /h3|x-a: more"),
    "{uri: {prefix: /h4}, headers: {x-a: {}}}": ("GET /h4|x-a: any", "GET /h4"),
    "{uri: {prefix: /w1}, withoutHeaders: {x-a: {exact: one}}}": ("GET /w1|x-a: two", "GET /w1|x-a: one"),
    "{uri: {prefix: /w2}, withoutHeaders: {x-a: {prefix: 'on'}}}": ("GET /w2|x-a: two", "GET /w2|x-a: one"),
    "{uri: {prefix: /w3}, withoutHeaders: {x-a: {regex: 'o.e'}}}": ("GET /w3|x-a: two", "GET /w3|x-a: ore"),
    "{uri: {prefix: /w4}, withoutHeaders: {x-a: {}}}": ("GET /w4", "GET /w4|x-a: any"),
    "{uri: {prefix: /q1}, queryParams: {a: {exact: one}}}": ("GET /q1?b=2&a=one", "GET /q1?a=ones"),
    "{uri: {prefix: /q2}, queryParams: {a: {prefix: 'on'}}}": ("GET /q2?a=one", "GET /q2?a=none"),
    "{uri: {prefix: /q3}, queryParams: {a: {regex: 'o.e'}}}": ("GET /q3?a=ore", "GET /q3?a=more"),
    "{uri: {prefix: /p1}, port: 80}": ("GET /p1", ""),
    "{uri: {prefix: /p2}, port: 81}": ("", "GET /p2"),
    "{name: named, uri: {prefix: /n1}}": ("GET /n1", ""),
    "{uri: {prefix: /both}, headers: {x-a: {exact: one}}}, {uri: {exact: /either}}": ("GET /either", "GET /both"),
}


def _text(asked: str) -> str:
    """`METHOD PATH|HEADER` or `METHOD PATH|HOST`."""
    line, _, more = asked.partition("|")
    is_header = ": " in more
    host = more if more and not is_header else HOST
    headers = [more] if is_header else []
    return "\r\n".join(
        (f"{line} HTTP/1.1", f"Host: {host}", "Connection: close", "Content-Length: 0", *headers, "", "")
    )


def test_what_fits_is_taken_and_nothing_else(start: Start) -> None:
    routes = "".join(ROUTE.format(match=match, index=index) for index, match in enumerate(CASES))
    live = start(f"{HEAD}{routes}  - route: [{{destination: {{host: app.example.com}}}}]\n")
    live.start_app(live.peer, PEER4, 80, "app")
    asked = [
        (f"route {index}." if fits else "app ", text)
        for index, each in enumerate(CASES.values())
        for fits, text in zip((True, False), each, strict=True)
        if text
    ]
    found = call_all(live.netns, "10.96.0.7", 80, [[(0, _text(text))] for _, text in asked])
    wrong = [
        f"{text}: not {want!r}" for (want, text), (answer, _) in zip(asked, found, strict=True) if want not in answer
    ]
    assert not wrong, "\n".join(wrong)


SOURCES = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: everybody, namespace: vm}
spec: {egress: [{hosts: ['*/*']}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: some, namespace: vm}
spec: {workloadSelector: {labels: {app: APP}}, egress: [{hosts: ['~/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
---
"""


@pytest.mark.parametrize(("app", "answered"), [("webapp", False), ("other", True)])
def test_a_sidecar_is_for_the_workloads_that_it_selects(start: Start, app: str, answered: bool) -> None:
    live = start(SOURCES.replace("APP", app) + HEAD + "  - directResponse: {status: 200, body: {string: here}}\n")
    assert ("here" in live.request(live.netns, "10.96.0.7", 80, HOST)) is answered
