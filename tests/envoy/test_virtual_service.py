"""VirtualServices as clients and apps see them: real requests through a real Envoy, a path for each field."""

from __future__ import annotations

from dataclasses import dataclass

from tests.envoy.calls import call_all
from tests.envoy.conftest import LiveEnvoy, Start
from tests.waiting import wait_until

MESH = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: app, namespace: vm}
spec:
  hosts: [app.example.com]
  addresses: [10.96.0.7]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 10.245.1.2, labels: {version: v1}}
  - {address: 10.245.1.2, labels: {version: v2}, ports: {http: 81}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: vm}
spec:
  host: app.example.com
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shadow, namespace: vm}
spec:
  hosts: [shadow.example.com]
  addresses: [10.96.0.8]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.245.1.2, ports: {http: 82}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: down, namespace: vm}
spec:
  hosts: [down.example.com]
  addresses: [10.96.0.9]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.245.1.2, ports: {http: 9}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: vm}
spec:
  hosts: [app.example.com]
  http:
"""
V1 = "  - route: [{destination: {host: app.example.com, subset: v1}}]\n"
CLOSE, SHOW = "Connection: close", "x-show: yes"


@dataclass(frozen=True)
class Call:
    what: str
    path: str
    expected: tuple[str, ...]
    """Each stands in what comes back."""
    headers: tuple[str, ...] = ()
    method: str = "GET"
    host: str = "app.example.com"
    seconds: float = 0
    never: tuple[str, ...] = ("text that nobody sends",)

    @property
    def text(self) -> str:
        lines = (f"{self.method} {self.path} HTTP/1.1", f"Host: {self.host}", CLOSE, *self.headers, "", "")
        return "\r\n".join(lines)


def _start(start: Start, routes: str, problems: frozenset[str] = frozenset(), after: str = "") -> LiveEnvoy:
    live = start(f"{MESH}{routes}{V1}{after}", problems=problems)
    for port, name in ((80, "v1"), (81, "v2"), (82, "shadow")):
        live.start_app(live.peer, "10.245.1.2", port, name)
    return live


def _call(live: LiveEnvoy, calls: tuple[Call, ...]) -> list[tuple[str, float]]:
    return call_all(live.netns, "10.96.0.7", 80, [[(0, call.text)] for call in calls])


def _check(live: LiveEnvoy, calls: tuple[Call, ...]) -> None:
    outcomes = zip(calls, _call(live, calls), strict=True)
    wrong = [
        f"{c.what}: {answer} after {seconds:.2f}" for c, (answer, seconds) in outcomes if not _fits(c, answer, seconds)
    ]
    assert not wrong, "\n".join(wrong)


def _fits(call: Call, answer: str, seconds: float) -> bool:
    found = all(text in answer for text in call.expected) and not any(text in answer for text in call.never)
    # What Envoy answers itself is there at once, and its connection is closed a second later (delayed_close_timeout).
    return found and call.seconds - 0.02 <= seconds < call.seconds + 1.5


REWRITES = r"""
  - match: [{uri: {prefix: /old}}]
    rewrite: {uri: /new}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {exact: /exact}}]
    rewrite: {uri: /whole}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {regex: "/re/.*"}}]
    rewrite: {uri: /all}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /service/}}]
    rewrite:
      uriRegexRewrite: {match: "^/service/([^/]+)(/.*)$", rewrite: "\\2/instance/\\1"}
      authority: other.example.com
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /limited}}]
    rewrite: {uri: /short}
    timeout: 5s
    route: [{destination: {host: app.example.com, subset: v1}}]
"""


def test_rewrites_are_what_the_app_is_asked(start: Start) -> None:
    _check(
        _start(start, REWRITES),
        (
            Call("a prefix", "/old/a?q=1", ("v1 GET /new/a?q=1 ", "host: app.example.com\n"), (SHOW,)),
            Call("an exact path", "/exact?q=1", ("GET /whole?q=1 ",)),
            Call("what a regular expression matched", "/re/x/y?q=1", ("GET /all?q=1 ",)),
            Call(
                "groups", "/service/foo/v1/api?q", ("GET /v1/api/instance/foo?q ", "host: other.example.com\n"), (SHOW,)
            ),
            Call("with a timeout", "/limited/x", ("GET /short/x ",)),
            Call("nothing", "/", ("GET / ", "host: app.example.com\n"), (SHOW,)),
        ),
    )


HEADERS = """
  - match: [{uri: {prefix: /route}}]
    headers: &operations
      request:
        set: {X-Set: new, x-where: "%REQ(:path)% 100%%", x-empty: ""}
        add: {x-add: more}
        remove: [X-Gone]
      response: {set: {x-app: changed}, add: {x-more: "1"}, remove: [x-old]}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /one}}]
    headers: {request: {set: {x-set: route}}}
    route:
    - {destination: {host: app.example.com, subset: v1}, headers: {request: {set: {x-set: new, Host: one.example.com}}}}
  - match: [{uri: {prefix: /authority}}]
    headers: {request: {set: {":authority": top.example.com}}}
    route:
    - {destination: {host: app.example.com, subset: v1}, headers: {request: {set: {":authority": below.example.com}}}}
  - match: [{uri: {prefix: /split}}]
    route:
    - destination: {host: app.example.com, subset: v1}
      weight: 1
      headers: {request: {set: {x-set: one, ":authority": v1.example.com}}, response: {add: {x-from: one}}}
    - destination: {host: app.example.com, subset: v2}
      weight: 1
      headers: {request: {set: {x-set: two}}, response: {add: {x-from: two}}}
"""


def test_headers_are_set_added_and_removed_both_ways(start: Start) -> None:
    live = _start(start, HEADERS)
    asked = (SHOW, "x-set: old", "x-add: first", "x-gone: yes")
    into = ("x-set: new\n", "x-where: /route/a 100%\n", "x-add: first\n", "x-add: more\n")
    back = ("x-app: changed\r\n", "x-more: 1\r\n")
    _check(
        live,
        (
            Call(
                "of a route",
                "/route/a",
                (*into, *back),
                asked,
                never=("x-gone", "x-set: old", "x-app: v1", "x-empty", "x-old"),
            ),
            Call(
                "of its one destination",
                "/one",
                ("x-set: new\n", "host: one.example.com\n"),
                asked,
                never=("x-set: route",),
            ),
            Call("the route's host prevails", "/authority", ("host: top.example.com\n",), asked),
            Call("none", "/", ("x-set: old\n", "x-gone: yes\n", "x-app: v1\r\n", "x-old: yes\r\n"), asked),
        ),
    )
    split = [answer for answer, _ in _call(live, (Call("", "/split", (), asked),) * 40)]
    ones = [a for a in split if "v1 GET" in a]
    assert 5 <= len(ones) <= 35
    assert all("x-set: one\n" in a and "x-from: one\r\n" in a and "host: v1.example.com\n" in a for a in ones)
    twos = [a for a in split if a not in ones]
    assert all("x-set: two\n" in a and "x-from: two\r\n" in a and "host: app.example.com\n" in a for a in twos)


ANSWERS = """
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /there}
  - match: [{uri: {prefix: /host}}]
    redirect: {authority: other.example.com, redirectCode: 302}
  - match: [{uri: {prefix: /secure}}]
    redirect: {scheme: https, redirectCode: 308}
  - match: [{uri: {prefix: /port}}]
    redirect: {port: 8443, scheme: https, redirectCode: 307}
  - match: [{uri: {prefix: /same}}]
    redirect: {derivePort: FROM_REQUEST_PORT, authority: other.example.com, redirectCode: 303}
  - match: [{uri: {prefix: /keep}}]
    redirect: {derivePort: FROM_REQUEST_PORT, scheme: https}
  - match: [{uri: {prefix: /default}}]
    redirect: {derivePort: FROM_PROTOCOL_DEFAULT, scheme: https}
  - match: [{uri: {prefix: /prefix}}]
    redirect: {prefixRewrite: /instead}
  - match: [{uri: {prefix: /percent}}]
    redirect: {uri: "%PREFIX()%/instead"}
  - match: [{uri: {prefix: /teapot}}]
    directResponse: {status: 418, body: {string: short and stout}}
    headers: {response: {set: {content-type: text/tea}}}
  - match: [{uri: {prefix: /bytes}}]
    directResponse: {status: 200, body: {bytes: aGVsbG8=}}
  - match: [{uri: {prefix: /bare}}]
    directResponse: {status: 204}
  - match: [{uri: {prefix: /large}}]
    directResponse: {status: 200, body: {string: LONG}}
"""


def test_redirects_and_direct_responses_never_reach_an_app(start: Start) -> None:
    live = _start(start, ANSWERS.replace("LONG", "a" * 150_000), frozenset({"LargeBody"}))
    _check(
        live,
        (
            _moved("the path", "/moved/x?q=1", "301", "http://app.example.com/there?q=1"),
            _moved("the host", "/host/x?q=1", "302", "http://other.example.com/host/x?q=1"),
            _moved("the scheme", "/secure/x", "308", "https://app.example.com/secure/x"),
            _moved("the port", "/port", "307", "https://app.example.com:8443/port"),
            _moved("the port of the request, which is HTTP's own", "/same", "303", "http://other.example.com/same"),
            _moved("the port of the request, which is not HTTPS's", "/keep", "301", "https://app.example.com:80/keep"),
            _moved("the port of HTTPS", "/default", "301", "https://app.example.com/default"),
            _moved("a prefix", "/prefix/x", "301", "http://app.example.com/instead/x"),
            _moved("a prefix, as the Gateway API is lowered", "/percent/x", "301", "http://app.example.com/instead/x"),
            Call("a response", "/teapot", (" 418 ", "short and stout", "content-type: text/tea"), never=("x-app",)),
            Call("bytes", "/bytes", (" 200 ", "\r\n\r\nhello")),
            Call("no body", "/bare", (" 204 ",)),
            Call("a long body", "/large", (" 200 ", "a" * 150_000)),
        ),
    )
    seen = live.request(live.peer, "10.245.1.2", 80, "app", "/seen")
    assert seen.endswith("\n\n"), "no request reached the app"


def _moved(what: str, path: str, status: str, where: str) -> Call:
    return Call(what, path, (f"HTTP/1.1 {status} ", f"location: {where}\r\n"), never=("x-app",))


FAULTS = """
  - match: [{uri: {prefix: /slow}}]
    fault: {delay: {fixedDelay: 0.7s, percentage: {value: 100}}}
    timeout: 0.3s
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /broken}}]
    fault: {abort: {httpStatus: 555, percentage: {value: 100}}}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /grpc}}]
    fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /both}}]
    fault: {delay: {fixedDelay: 0.7s, percentage: {value: 100}}, abort: {httpStatus: 500, percentage: {value: 100}}}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /old}}]
    fault: {delay: {fixedDelay: 0.7s, percent: 100}}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /some}}]
    fault: {abort: {httpStatus: 500, percentage: {value: 30.5}}}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /none}}]
    fault: {abort: {httpStatus: 500}, delay: {fixedDelay: 3s}}
    route: [{destination: {host: app.example.com, subset: v1}}]
"""


def test_faults_hit_their_share_of_requests(start: Start) -> None:
    live = _start(start, FAULTS, frozenset({"NoEffect"}))
    _check(
        live,
        (
            Call("a delay, which is not the app's, so no timeout ends it", "/slow", ("v1 GET /slow",), seconds=0.7),
            Call("an abort", "/broken", ("HTTP/1.1 555 ",), never=("x-app",)),
            Call("for gRPC", "/grpc", ("grpc-status: 14\r\n",), ("Content-Type: application/grpc",)),
            Call("a delay and an abort", "/both", ("HTTP/1.1 500 ",), seconds=0.7),
            Call("a percentage of old", "/old", ("v1 GET /old",), seconds=0.7),
            Call("without a percentage", "/none", ("v1 GET /none",)),
        ),
    )
    hit = sum(" 500 " in answer for answer, _ in _call(live, (Call("", "/some", ()),) * 400))
    assert 80 <= hit <= 164, "it is 122 of 400, and 42 are 4.5 standard deviations"


MIRRORS = """
  - match: [{uri: {prefix: /all}}]
    mirror: {host: shadow.example.com}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /share}}]
    mirror: {host: shadow.example.com}
    mirrorPercentage: {value: 30}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /never}}]
    mirror: {host: shadow.example.com}
    mirrorPercentage: {value: 0}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /old}}]
    mirror: {host: shadow.example.com}
    mirrorPercent: 0
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /more}}]
    mirrors:
    - {destination: {host: shadow.example.com}}
    - {destination: {host: app.example.com, subset: v2}, percentage: {value: 100}}
    - {destination: {host: down.example.com}}
    - {destination: {host: nobody.example.com}}
    route: [{destination: {host: app.example.com, subset: v1}}]
"""


def test_mirrors_get_their_share_and_what_they_answer_is_nobodys_matter(start: Start) -> None:
    live = _start(start, MIRRORS, frozenset({"DeprecatedField"}))
    heard = ("x-answer: 200",)
    _check(
        live,
        (
            Call("all", "/all", ("HTTP/1.1 200 ", "v1 GET /all"), heard),
            Call("a slow mirror", "/all/x", ("v1 GET /all/x",), heard),
            Call("none", "/never", ("v1 GET /never",), heard),
            Call("none, as of old", "/old", ("v1 GET /old",), heard),
            Call("more than one, dead ones among them", "/more", ("HTTP/1.1 200 ", "v1 GET /more"), heard),
            *(Call("a share", "/share", ("v1 GET /share",)),) * 200,
        ),
    )
    wait_until(
        "copies", lambda: "GET /more app.example.com-shadow" in _seen(live, 82) and "GET /more" in _seen(live, 81)
    )
    wait_until(
        "copies",
        lambda: {"GET /all", "GET /all/x"} <= {line.rpartition(" ")[0] for line in _seen(live, 82).splitlines()},
    )
    copies = _seen(live, 82)
    assert "/never" not in copies
    assert "/old" not in copies
    assert 31 <= copies.count("GET /share") <= 89, "it is 60 of 200, and 29 are 4.5 standard deviations"


def _seen(live: LiveEnvoy, port: int) -> str:
    return str(live.request(live.peer, "10.245.1.2", port, "app", "/seen"))


CORS = """
  - match: [{uri: {prefix: /cors}}]
    corsPolicy:
      allowOrigins: [{exact: "https://a.example.com"}, {prefix: "https://b."}, {regex: "https://[cd]\\\\.example\\\\.com"}]
      allowMethods: [GET, PUT]
      allowHeaders: [x-one, x-two]
      exposeHeaders: [x-app]
      maxAge: 24h
      allowCredentials: true
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /alone}}]
    corsPolicy: {allowOrigins: [{exact: "https://a.example.com"}], unmatchedPreflights: IGNORE}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /forwarded}}]
    corsPolicy: {allowOrigins: [{exact: "https://a.example.com"}], unmatchedPreflights: FORWARD}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /old}}]
    corsPolicy: {allowOrigin: ["*"]}
    route: [{destination: {host: app.example.com, subset: v1}}]
"""


def test_pages_of_other_origins_are_let_in_by_their_origin(start: Start) -> None:
    allowed = (
        "access-control-allow-methods: GET,PUT\r\n",
        "access-control-allow-headers: x-one,x-two\r\n",
        "access-control-max-age: 86400\r\n",
        "access-control-allow-credentials: true\r\n",
    )
    _check(
        _start(start, CORS),
        (
            *(
                _preflight("allowed", "/cors", o, (_origin(o), *allowed), ("x-app: v1",))
                for o in ("https://a.example.com", "https://b.org", "https://c.example.com")
            ),
            _preflight("not allowed: the app may decide", "/cors", "https://e.example.com", ("x-app: v1",), (_CORS,)),
            _preflight(
                "not allowed: the proxy decides", "/alone", "https://e.example.com", (" 200 ",), (_CORS, "x-app: v1")
            ),
            _preflight("not allowed: the app is asked", "/forwarded", "https://e.org", ("x-app: v1",), (_CORS,)),
            _preflight("of old", "/old", "https://e.example.com", (_origin("https://e.example.com"),), ("x-app: v1",)),
            Call(
                "a request",
                "/cors",
                (_origin("https://b.org"), "access-control-expose-headers: x-app\r\n", "v1 GET"),
                ("Origin: https://b.org",),
            ),
            Call("of another origin", "/cors", ("v1 GET",), ("Origin: https://e.org",), never=(_CORS,)),
        ),
    )


_CORS = "access-control-allow-origin"


def _origin(origin: str) -> str:
    return f"{_CORS}: {origin}\r\n"


def _preflight(what: str, path: str, origin: str, expected: tuple[str, ...], never: tuple[str, ...]) -> Call:
    return Call(
        what, path, expected, (f"Origin: {origin}", "Access-Control-Request-Method: PUT"), "OPTIONS", never=never
    )


RETRIES = """
  - match: [{uri: {prefix: /coded}}]
    retries: {attempts: 2, retryOn: "503,connect-failure", backoff: 10ms}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /anywhere}}]
    retries: {attempts: 3, retryOn: 5xx, retryIgnorePreviousHosts: false, retryRemoteLocalities: true, backoff: 1ms}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /pause}}]
    retries: {attempts: 5, retryOn: 5xx, backoff: 1ms, perTryTimeout: 0.2s}
    route: [{destination: {host: app.example.com, subset: v1}}]
"""


def test_retries_are_made_for_what_was_asked(start: Start) -> None:
    live = _start(start, RETRIES)
    _check(
        live,
        (
            Call("a status that is asked for", "/coded/a", (" 503 ",), ("x-answer: 503",)),
            Call("another", "/coded/b", (" 500 ",), ("x-answer: 500",)),
            Call("any of five hundred", "/anywhere", (" 500 ",), ("x-answer: 500",)),
            Call("each try has its time", "/pause/after/1", (" 504 ",), seconds=1.2),
        ),
    )
    seen = _seen(live, 80)
    counts = {path: seen.count(f"GET {path} ") for path in ("/coded/a", "/coded/b", "/anywhere", "/pause/after/1")}
    assert counts == {"/coded/a": 3, "/coded/b": 1, "/anywhere": 4, "/pause/after/1": 6}


SOURCES = """
  - match: [{uri: {prefix: /labels}, sourceLabels: {app: webapp}}]
    route: [{destination: {host: app.example.com, subset: v2}}]
  - match: [{uri: {prefix: /strange}, sourceLabels: {app: webapp, version: v9}}]
    route: [{destination: {host: app.example.com, subset: v2}}]
  - match: [{uri: {prefix: /namespace}, sourceNamespace: vm}]
    route: [{destination: {host: app.example.com, subset: v2}}]
  - match: [{uri: {prefix: /elsewhere}, sourceNamespace: shop}]
    route: [{destination: {host: app.example.com, subset: v2}}]
  - match: [{uri: {prefix: /mesh}, gateways: [mesh, edge]}]
    route: [{destination: {host: app.example.com, subset: v2}}]
  - match: [{uri: {prefix: /edge}, gateways: [edge]}]
    route: [{destination: {host: app.example.com, subset: v2}}]
  - match: [{uri: {prefix: /counted}, statPrefix: counted}]
    route: [{destination: {host: app.example.com, subset: v1}}]
"""


def test_routes_hold_for_some_clients_and_are_counted_by_name(start: Start) -> None:
    live = _start(start, SOURCES)
    taken = {"/labels": "v2", "/strange": "v1", "/namespace": "v2", "/elsewhere": "v1", "/mesh": "v2", "/edge": "v1"}
    _check(live, tuple(Call(path, path, (f"{app} GET",)) for path, app in {**taken, "/counted": "v1"}.items()))
    counts = live.get("/stats?filter=route.counted.upstream_rq_total")
    assert counts == "vhost.app.example.com:80.route.counted.upstream_rq_total: 1\n"


EXPORTS = """
  - match: [{uri: {prefix: /shop}}]
    directResponse: {status: 202}
"""
EXPORTED = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: for-shop, namespace: shop, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  hosts: [app.example.com]
  exportTo: [shop]
  http: [{directResponse: {status: 404}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: for-vm, namespace: vm}
spec:
  hosts: [shadow.example.com]
  exportTo: ["."]
  http: [{directResponse: {status: 203}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: for-all, namespace: vm, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  hosts: [shadow.example.com]
  http: [{directResponse: {status: 404}}]
"""


def test_a_client_sees_what_is_exported_to_its_namespace(start: Start) -> None:
    live = _start(start, EXPORTS, after=EXPORTED)
    _check(
        live,
        (
            Call("of another namespace", "/shop", ("HTTP/1.1 202 ",)),
            Call("of its own, before all others", "/", ("HTTP/1.1 203 ",), host="shadow.example.com"),
        ),
    )


DELEGATES = """
  - name: root
    match: [{uri: {prefix: /part}, headers: {x-a: {exact: "1"}}}]
    delegate: {name: part, namespace: parts}
    headers: {request: {set: {x-by: root}}}
    timeout: 0.5s
  - match: [{uri: {prefix: /gone}}]
    delegate: {name: nobody}
"""
DELEGATED = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part, namespace: parts}
spec:
  http:
  - match: [{uri: {prefix: /part/two}}]
    headers: {request: {set: {x-by: part}}}
    route: [{destination: {host: app.example.com, subset: v2}}]
  - match: [{uri: {prefix: /other}}]
    directResponse: {status: 404}
  - match: [{method: {exact: PUT}}]
    directResponse: {status: 202}
  - route: [{destination: {host: app.example.com, subset: v2}}]
"""


def test_what_is_delegated_is_routed_as_both_say(start: Start) -> None:
    live, asked = _start(start, DELEGATES, after=DELEGATED), (SHOW, "x-a: 1")
    _check(
        live,
        (
            Call("the delegate's own comes first", "/part/two", ("v2 GET", "x-by: part\n"), asked),
            Call("what it leaves to the root", "/part/x", ("v2 GET", "x-by: root\n"), asked),
            Call("the root's timeout", "/part/after/2", (" 504 ",), asked, seconds=0.5),
            Call("its match under the root's", "/part/x", (" 202 ",), asked, "PUT"),
            Call("a match beside the root's is not used", "/other", ("v1 GET",), asked),
            Call("the root's match still holds", "/part/x", ("v1 GET",), (SHOW,)),
            Call("a delegate that is not there takes nothing", "/gone", ("v1 GET",)),
        ),
    )
