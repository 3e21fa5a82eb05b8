"""`pilotfish identity`: a mesh's certificates, what signs them, and who is trusted."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.mesh.machine import Machine
from pilotfish.cli.options import mesh_option, namespace_option, output_option
from pilotfish.cli.render.documents import Format, render_document
from pilotfish.cli.render.identity import render_authority, render_certificates
from pilotfish.cli.session import Session, open_reader, open_session, require_root
from pilotfish.model.renewal import LONGEST_TTL
from pilotfish.runtime.control.views import ProxyView

if TYPE_CHECKING:
    from pilotfish.cli.mesh.cluster import Cluster

_SECRETS = "an operator's token is signed with the mesh's own key"


@click.group("identity")
@mesh_option
def command(mesh: Meant) -> None:
    """Show certificates and what signs them, issue one, or change the root."""


@command.command("show")
@click.argument("pod", metavar="[POD]", required=False)
@namespace_option
@output_option("json", "yaml")
@mesh_option
def show(pod: str | None, namespace: str | None, output: Format | None, mesh: Meant) -> None:
    """Show what signs the mesh's certificates, and each proxy's; with POD, that proxy's alone."""
    reader = open_reader(mesh, namespace)
    proxies = reader.mesh.proxies_of([reader.find_pod(pod)] if pod is not None else reader.mesh.pods().pods)
    authority = reader.mesh.authority() if pod is None else None
    if output:
        document = {"authority": authority, "proxies": [_document(proxy) for proxy in proxies]}
        click.echo(render_document(document if authority else document["proxies"], output), nl=False)
        return
    now = time.time()
    if authority is not None:
        click.echo(render_authority(authority, now))
    click.echo(render_certificates(proxies, now).text(), nl=False)


@command.command("roots")
@output_option("json", "yaml")
@mesh_option
def roots(output: Format | None, mesh: Meant) -> None:
    """Print whom the mesh trusts: certificates in PEM."""
    authority = open_reader(mesh).mesh.authority()
    click.echo(render_document(authority.roots, output) if output else authority.pem, nl=False)


@command.command("rotate")
@mesh_option
def rotate(mesh: Meant) -> None:
    """Make a new root.

    All trust it at once, and certificates are signed by it some seconds later, in a cluster two minutes; the root
    before it is trusted until the last certificate below it has expired. An authority of your own is not touched:
    change its files, or its Secret.
    """
    from pilotfish.identity.messages import ROTATE

    known = open_reader(mesh).mesh
    if isinstance(known, Machine):
        _ask(open_session(mesh), lambda client, token: client.ask(ROTATE, b"", token))
        authority = known.authority()
        following, at = authority.next or authority.signer, authority.next_at or 0.0
    else:
        following, at = cast("Cluster", known).rotate()
    wait = max(0.0, at - time.time())
    click.echo(f"root {following.serial} is trusted now, and signs in {wait:.0f} s; 'pilotfish identity show' shows it")


@command.command("issue")
@click.argument("identity", metavar="NAMESPACE/ACCOUNT")
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Gets cert-chain.pem, key.pem and root-cert.pem; it is made if it is missing.",
)
@click.option("--ttl", type=parse_duration, default="24h", show_default=True, metavar="DURATION", help="How long.")
@mesh_option
def issue(identity: str, directory: Path, ttl: float, mesh: Meant) -> None:
    """Issue a certificate for a service account, for a client or server outside of the mesh's pods.

    The key is made here, and written for its owner alone.
    """
    from pilotfish.identity.requests import build_request, new_key
    from pilotfish.model.identity import Identity
    from pilotfish.model.private import reveal
    from pilotfish.runtime.linux.files import replace_file

    if not re.fullmatch(r"[a-z0-9.-]+/[a-z0-9.-]+", identity):
        raise click.UsageError(f"{identity!r} is not NAMESPACE/ACCOUNT, such as default/batch")
    if not 1 <= ttl <= LONGEST_TTL:
        raise click.UsageError(f"--ttl must be between 1s and {LONGEST_TTL / 3600:g}h")
    session = open_session(mesh)
    whose = Identity(Machine(session.mesh).authority().trust_domain, *identity.split("/"))
    key = new_key()
    request = build_request(key, str(whose))
    chain = _ask(session, lambda client, token: client.create(request, ttl, token))
    contents = {"cert-chain.pem": b"".join(chain[:-1]), "key.pem": reveal(key), "root-cert.pem": chain[-1]}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            replace_file(directory / name, content, 0o600 if name == "key.pem" else 0o644)
    except OSError as error:
        raise Failure(f"{directory} can't be written: {error.strerror}") from error
    click.echo(f"{whose}: {', '.join(contents)} in {directory}")


def _ask(session: Session, work: Callable[[Any, str], Coroutine[Any, Any, Any]]) -> Any:
    """As who runs the mesh: root, who can read its key."""
    require_root(_SECRETS)
    import asyncio
    import socket

    from pilotfish.identity.tokens import Claims, make_token
    from pilotfish.model.private import PrivateBytes
    from pilotfish.model.wellknown import DISCOVERY_NAME
    from pilotfish.runtime.agent import AuthoritySpec
    from pilotfish.runtime.agent.authority_client import AuthorityClient
    from pilotfish.runtime.node.records import TOKEN_KEY, roots_path

    directory = Path(session.mesh.directory)
    try:
        key = PrivateBytes((directory / TOKEN_KEY).read_bytes())
    except OSError as error:
        raise Failure(f"the mesh's key {directory / TOKEN_KEY} can't be read: {error.strerror}") from error
    token = make_token(key, Claims("", "", is_operator=True), time.time())
    address = session.client.status().discovery.xds_address
    authority = AuthoritySpec(address, roots_path(directory), lambda: token, DISCOVERY_NAME)
    try:
        return asyncio.run(work(AuthorityClient(authority, lambda family: socket.socket(family)), token))
    except OSError as error:
        raise Failure(f"discovery refuses: {error}") from error


def _document(proxy: ProxyView) -> dict[str, object]:
    return {
        "namespace": proxy.namespace,
        "pod": proxy.pod,
        "certificate": proxy.certificate,
        "error": proxy.certificate_error,
    }
