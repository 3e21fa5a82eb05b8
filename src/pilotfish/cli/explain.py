"""`pilotfish explain`: the whole way of a request, and why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, get_args

import click
import msgspec

from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import FILE, mesh_option
from pilotfish.cli.render.documents import render_document
from pilotfish.cli.session import open_reader
from pilotfish.cli.terminal import nearby, terminal_width
from pilotfish.explain.ask import OUTSIDE

if TYPE_CHECKING:
    from pilotfish.capture import RuleSet
    from pilotfish.cli.mesh.protocol import Mesh
    from pilotfish.explain.ask import Ask
    from pilotfish.explain.cases import Expected
    from pilotfish.explain.owner import FindOwners
    from pilotfish.explain.report import Report
    from pilotfish.explain.scene import Scene, Station
    from pilotfish.explain.trace import Trace
    from pilotfish.runtime.control.views import PodView

Output = Literal["text", "json", "yaml", "svg", "html"]


@click.command("explain")
@click.argument("words", metavar="[FROM] TO", nargs=-1, required=True)
@click.option("-f", "--file", "files", metavar="FILE|DIR|-", multiple=True, type=FILE, help="Manifests: no mesh.")
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option("-n", "--namespace", default=None, help="Of FROM, and of objects that name none.")
@click.option("--mesh-config", type=click.Path(dir_okay=False), help="A file with Istio's meshConfig.")
@click.option("--config-dump", type=FILE, metavar="FILE", help="What an Envoy of any mesh says of itself: no mesh.")
@click.option("--clusters", type=FILE, metavar="FILE", help="Its /clusters?format=json: the endpoints' health.")
@click.option("--iptables-save", "saved", type=FILE, metavar="FILE", help="The rules of its pod.")
@click.option("--server-config-dump", type=FILE, metavar="FILE", help="The same of the pod that is called.")
@click.option("--server-iptables-save", "server_saved", type=FILE, metavar="FILE", help="And the rules there.")
@click.option("-X", "--request", "method", default="", metavar="METHOD", help="The method; GET if none is given.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header.")
@click.option("--jwt", default="", metavar="TOKEN", help="The token that it carries: Authorization: Bearer TOKEN.")
@click.option("--http2", is_flag=True, help="HTTP/2, in the clear or in TLS.")
@click.option("--tls", is_flag=True, help="TLS, as https:// means it.")
@click.option("--sni", default="", metavar="NAME", help="The server name in the handshake; else the host.")
@click.option("--alpn", default="", metavar="PROTOCOL", help="What the handshake offers, such as h2.")
@click.option("--resolve", "resolves", multiple=True, metavar="HOST:PORT:ADDRESS", help="What a name resolves to.")
@click.option("--source-ip", default="", metavar="ADDRESS", help="The client's address; else the pod's own.")
@click.option("--server-first", is_flag=True, help="TCP whose server speaks first, as SMTP and MySQL do.")
@click.option("--uid", type=int, default=0, metavar="UID", help="Whose connection it is: 1337 is the proxy's.")
@click.option(
    "--assert",
    "expected",
    multiple=True,
    metavar="KEY=VALUE",
    help="Exit with 1 unless it always ends so: kind, status, flag, cluster, endpoint, pod or cause; * is anything.",
)
@click.option("--live", is_flag=True, help="Send the request for real, and mark what it confirms or contradicts.")
@click.option("-v", "--verbose", is_flag=True, help="All evidence, and each candidate that lost, with why.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(get_args(Output)),
    default="text",
    show_default=True,
    help="svg and html draw the way: one file each, for an incident report.",
)
@mesh_option
def command(
    words: tuple[str, ...],
    config_dump: str | None,
    clusters: str | None,
    saved: str | None,
    server_config_dump: str | None,
    server_saved: str | None,
    files: tuple[str, ...],
    recursive: bool,
    namespace: str | None,
    mesh_config: str | None,
    resolves: tuple[str, ...],
    expected: tuple[str, ...],
    live: bool,
    verbose: bool,
    output: Output,
    mesh: Meant,
    method: str,
    headers: tuple[str, ...],
    jwt: str,
    http2: bool,
    tls: bool,
    sni: str,
    alpn: str,
    source_ip: str,
    server_first: bool,
    uid: int,
) -> None:
    """Explain the way of a request: every step from the client's connect() to the server's accept(), and why.

    FROM is a pod (NAME, NAME.NAMESPACE), deploy/NAME or `outside`. TO is a URL, HOST:PORT or ADDRESS:PORT. The mesh
    that runs is asked: what the kernel and the Envoys hold. With -f the manifests alone are: no mesh, no root. With
    --config-dump an Envoy of any mesh calls, Istio's too, as its dump has it.

    \b
      pilotfish explain webapp-0 http://calculator:8888/add -H 'end-user: jason'
      pilotfish explain deploy/webapp.vm redis:6379 -f mesh.yaml -v
    """
    from pilotfish.explain.ask import parse

    source, to = _split(words, config_dump is not None)
    if live and (files or config_dump is not None or source == OUTSIDE):
        raise click.UsageError("--live sends the request from a pod of a mesh that runs")
    try:
        ask = parse(
            to,
            method=method,
            headers=headers,
            sni=sni,
            alpn=alpn,
            tls=tls,
            http2=http2,
            source=source_ip,
            uid=uid,
            server_first=server_first,
            jwt=jwt,
            now=time.time(),
            resolve=dict(map(_parse_resolve, resolves)),
        )
    except ValueError as error:
        raise Failure(str(error)) from error
    reader = pod = None
    if config_dump is not None:
        scene, client, find_owners = _dumped(source, config_dump, clusters, saved, server_config_dump, server_saved)
    elif files:
        scene, client, find_owners = _offline(files, recursive, namespace or "default", mesh_config, source)
    else:
        reader = open_reader(
            mesh, namespace, "the rules and the proxies of pods are inside of their network namespaces"
        )
        pod = reader.find_pod(source) if source != OUTSIDE else None
        scene, client, find_owners = _live(reader.mesh, pod, ask)
    from pilotfish.cli.live_request import send
    from pilotfish.explain.document import build_document
    from pilotfish.explain.report import build_report
    from pilotfish.explain.walk import explain

    wanted = _parse_expected(expected)
    trace = explain(scene, client, ask)
    name = client.name if client is not None else OUTSIDE
    observed = send(reader.mesh, pod, ask, trace) if live and reader and pod else None
    owners = find_owners(trace)
    if output == "json" or output == "yaml":
        click.echo(render_document(build_document(name, ask, trace, owners, observed), output), nl=False)
    else:
        click.echo(_show(build_report(name, ask, trace, nearby(owners), observed), output, verbose), nl=False)
    if wanted is not None:
        _assert(trace, wanted)


def _assert(trace: Trace, wanted: Expected) -> None:
    from pilotfish.explain.cases import differences

    if lines := tuple(differences(trace, [wanted])):
        raise Failure(f"not as asserted ({wanted}): {'; '.join(lines)}")


def _show(report: Report, output: Output, verbose: bool) -> str:
    if output == "text":
        from pilotfish.cli.render.way import render_way

        return render_way(report, verbose, terminal_width())
    from pilotfish.explain.picture import render_html, render_svg

    return render_svg(report) if output == "svg" else render_html(report)


def _offline(
    files: tuple[str, ...], recursive: bool, namespace: str, mesh_config: str | None, source: str
) -> tuple[Scene, Station | None, FindOwners]:
    from pilotfish.cli.changes import show_problems
    from pilotfish.cli.manifests import read_manifests
    from pilotfish.offline.owners import find_owners, locate_in
    from pilotfish.offline.scene import build_scene
    from pilotfish.offline.world import build
    from pilotfish.runtime.control.views import ProblemView

    world = build(read_manifests(files, recursive, namespace, mesh_config).desired)
    show_problems(ProblemView.of(each) for each in world.desired.problems if each.severity == "error")
    scene = build_scene(world)
    client = None
    if source != OUTSIDE:
        found = world.find_pods(source, namespace)
        if not found:
            there = ", ".join(scene.stations) or "none"
            raise Failure(f'the manifests have no pod "{source}" (namespace {namespace}); they have {there}')
        client = scene.stations[found[0]]
    return scene, client, lambda trace: find_owners(world, trace, locate_in(world))


def _dumped(
    pod: str,
    config_dump: str,
    clusters: str | None,
    saved: str | None,
    server_dump: str | None,
    server_saved: str | None,
) -> tuple[Scene, Station | None, FindOwners]:
    from pilotfish.explain.dumps import Dumped, build_scene
    from pilotfish.explain.owner import find_written

    client = Dumped(_read_json(config_dump), _read_json(clusters) if clusters else None, _read_rules(saved))
    server = Dumped(_read_json(server_dump), None, _read_rules(server_saved)) if server_dump else None
    try:
        scene, station = build_scene(client, server, pod)
    except ValueError as error:
        raise Failure(f"{config_dump}: {error}") from error
    if not any(each.held is not None and each.held.has_listeners for each in scene.stations.values()):
        raise Failure(f"{config_dump} has no listeners; give what Envoy's admin port answers to /config_dump")
    return scene, station, find_written


def _read_json(file: str) -> dict[str, Any]:
    from pilotfish.cli.manifests import read_text

    try:
        found = msgspec.json.decode(read_text(file))
    except msgspec.DecodeError as error:
        raise Failure(f"{file} is not JSON: {error}; give what Envoy's admin port answers") from error
    if not isinstance(found, dict):
        raise Failure(f"{file} holds no JSON object; give what Envoy's admin port answers")
    return found


def _read_rules(file: str | None) -> RuleSet | None:
    from pilotfish.capture import parse_iptables
    from pilotfish.cli.manifests import read_text

    if file is None:
        return None
    try:
        return parse_iptables(read_text(file))
    except ValueError as error:
        raise Failure(f"{file}: {error}; give what iptables-save prints") from error


def _split(words: tuple[str, ...], is_dumped: bool) -> tuple[str, str]:
    """(FROM, TO); a dump says itself whose it is, unless a machine's proxy has it, of all its pods."""
    if len(words) == 1 and is_dumped:
        return "", words[0]
    if len(words) != 2:
        raise click.UsageError("give TO, of a machine's proxy FROM, too" if is_dumped else "give FROM and TO")
    return words[0], words[1]


def _live(mesh: Mesh, pod: PodView | None, ask: Ask) -> tuple[Scene, Station | None, FindOwners]:
    """`pod`: the client; None: it is outside."""
    from pilotfish.cli.envoy_admin import LISTENERS, ROUTES, Asked, entry_of

    envoys = Asked(mesh)
    if pod is not None:
        # A machine's proxy has routes for each of its scopes, and which is the pod's the listener says.
        routed = ask.is_http and not pod.machine
        envoys.foresee(pod, LISTENERS, *([entry_of(ROUTES, str(ask.port))] if routed else []))
    # Loaded while the Envoy writes.
    from pilotfish.cli.live_scene import read_scene

    scene, find_owners = read_scene(mesh, mesh.pods(), envoys)
    return scene, scene.stations[f"{pod.name}.{pod.namespace}"] if pod is not None else None, find_owners


def _parse_expected(words: tuple[str, ...]) -> Expected | None:
    if not words:
        return None
    from pilotfish.explain.cases import Expected

    said = dict(word.partition("=")[::2] for word in words)
    try:
        return msgspec.convert(said, Expected, strict=False)
    except msgspec.ValidationError as error:
        raise Failure(f"--assert: {error}") from error


def _parse_resolve(text: str) -> tuple[tuple[str, int], str]:
    host, _, rest = text.partition(":")
    port, _, address = rest.partition(":")
    if not host or not port.isdecimal() or not address:
        raise Failure(f"--resolve {text}: write HOST:PORT:ADDRESS")
    return (host, int(port)), address.strip("[]")
