"""How to reach a cluster, and as whom: what a kubeconfig, or a pod's service account, says.

    files, the first of which counts most ─merge─▶ Kubeconfig ─access─▶ Access

Of several files, the first that has a cluster, a user or a context of some name has it whole; the current context is
that of the first which states one. File names in it are relative to its folder.

Sources: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ and
https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import yaml

from pilotfish.model.private import PrivateBytes, PrivateStr
from pilotfish.model.struct import Frozen

Material = bytes | Path
"""PEM, or the file that has it and may come to have another."""
LARGEST: Final = 4 * 2**20
"""Characters of a file."""
_EXEC_EXTENSION: Final = "client.authentication.k8s.io/exec"
_HTTP: Final = ("http", "https")
T = TypeVar("T")


class KubeconfigError(ValueError):
    """`str` names the file, the entry and the remedy."""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    """`https://10.0.0.1:6443`, perhaps with a path, without a slash at its end."""
    authority: Material | None = None
    """Whose certificate the server's has to be signed with. None: whom the machine trusts."""
    verified: bool = True
    tls_name: str = ""
    """That the server's certificate has to have; "" for the URL's host."""
    proxy: str = ""
    """The URL of an HTTP proxy; "" for what the environment says."""
    compress: bool = True
    """Whether large answers may be compressed."""
    exec_config: object = None
    """For the plugin that makes credentials, whatever it means by it."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A program that prints an ExecCredential."""

    command: str
    api_version: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    """How to install it."""
    wants_cluster: bool = False
    interactive: str = "IfAvailable"
    """Never, IfAvailable or Always: whether it may use the terminal."""


@dataclass(frozen=True, slots=True)
class User:
    certificate: Material | None = None
    key: Material | None = None
    token: str = ""
    token_file: Path | None = None
    """Counts before `token`, and is read again as it changes."""
    username: str = ""
    password: str = ""
    plugin: Plugin | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Of each request: who to act as."""


@dataclass(frozen=True, slots=True)
class Access:
    server: Server
    user: User = User()
    namespace: str = "default"
    """Of what names none."""
    origin: str = ""
    """For messages: `context kind of /root/.kube/config`."""


class _Extension(Frozen):
    name: str = ""
    extension: Any = None


class _Cluster(Frozen):
    server: str = ""
    authority: str = msgspec.field(name="certificate-authority", default="")
    authority_data: str = msgspec.field(name="certificate-authority-data", default="")
    insecure: bool = msgspec.field(name="insecure-skip-tls-verify", default=False)
    tls_name: str = msgspec.field(name="tls-server-name", default="")
    proxy: str = msgspec.field(name="proxy-url", default="")
    uncompressed: bool = msgspec.field(name="disable-compression", default=False)
    extensions: tuple[_Extension, ...] | None = None


class _EnvVar(Frozen):
    name: str
    value: str = ""


class _Exec(Frozen):
    command: str = ""
    api_version: str = msgspec.field(name="apiVersion", default="")
    args: tuple[str, ...] | None = None
    env: tuple[_EnvVar, ...] | None = None
    hint: str = msgspec.field(name="installHint", default="")
    wants_cluster: bool = msgspec.field(name="provideClusterInfo", default=False)
    interactive: str = msgspec.field(name="interactiveMode", default="")


class _User(Frozen):
    certificate: str = msgspec.field(name="client-certificate", default="")
    certificate_data: str = msgspec.field(name="client-certificate-data", default="")
    key: str = msgspec.field(name="client-key", default="")
    key_data: str = msgspec.field(name="client-key-data", default="")
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    username: str = ""
    password: str = ""
    as_user: str = msgspec.field(name="as", default="")
    as_uid: str = msgspec.field(name="as-uid", default="")
    as_groups: tuple[str, ...] | None = msgspec.field(name="as-groups", default=None)
    as_extra: dict[str, tuple[str, ...]] | None = msgspec.field(name="as-user-extra", default=None)
    provider: Any = msgspec.field(name="auth-provider", default=None)
    exec: _Exec | None = None


class _Context(Frozen):
    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedCluster(Frozen):
    name: str
    cluster: _Cluster = _Cluster()


class _NamedUser(Frozen):
    name: str
    user: _User = _User()


class _NamedContext(Frozen):
    name: str
    context: _Context = _Context()


class _File(Frozen):
    clusters: tuple[_NamedCluster, ...] | None = None
    users: tuple[_NamedUser, ...] | None = None
    contexts: tuple[_NamedContext, ...] | None = None
    current: str = msgspec.field(name="current-context", default="")


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """Several files as one. Each entry knows the file that it is from."""

    files: tuple[Path, ...] = ()
    clusters: Mapping[str, tuple[_Cluster, Path]] = field(default_factory=dict)
    users: Mapping[str, tuple[_User, Path]] = field(default_factory=dict)
    contexts: Mapping[str, tuple[_Context, Path]] = field(default_factory=dict)
    current: str = ""

    def access(self, context: str = "") -> Access:
        """Of a context, or of the current one. Raises KubeconfigError."""
        name = context or self.current
        where = ", ".join(map(str, self.files)) or "the kubeconfig"
        if not name:
            raise KubeconfigError(f"{where}: there is no current-context; give --context {self._names(self.contexts)}")
        chosen, path = self._find(self.contexts, name, f"{where}: there is no context {name}", "context")
        origin = f"context {name} of {path}"
        absent = f"{path}: context {name} names the cluster {chosen.cluster or chr(34) * 2}, which there is not"
        cluster, cluster_path = self._find(self.clusters, chosen.cluster, absent, "cluster")
        user, user_path = _User(), path
        if chosen.user:
            absent = f"{path}: context {name} names the user {chosen.user}, which there is not"
            user, user_path = self._find(self.users, chosen.user, absent, "user")
        made = _user(user, user_path, f"{user_path}: user {chosen.user}")
        server = _server(cluster, cluster_path, f"{cluster_path}: cluster {chosen.cluster}", made.certificate)
        return Access(server, made, chosen.namespace or "default", origin)

    def _find(self, entries: Mapping[str, tuple[T, Path]], name: str, absent: str, what: str) -> tuple[T, Path]:
        if name not in entries:
            raise KubeconfigError(f"{absent}; there is {what} {self._names(entries)}")
        return entries[name]

    @staticmethod
    def _names(entries: Iterable[str]) -> str:
        return " or ".join(sorted(entries)) or "none"


def merge(texts: Iterable[tuple[Path, str]]) -> Kubeconfig:
    """Files by their absolute paths, the one that counts most first. Raises KubeconfigError."""
    files: list[Path] = []
    clusters: dict[str, tuple[_Cluster, Path]] = {}
    users: dict[str, tuple[_User, Path]] = {}
    contexts: dict[str, tuple[_Context, Path]] = {}
    current = ""
    for path, text in texts:
        read = _read(path, text)
        files.append(path)
        for one in read.clusters or ():
            clusters.setdefault(one.name, (one.cluster, path))
        for each in read.users or ():
            users.setdefault(each.name, (each.user, path))
        for any_ in read.contexts or ():
            contexts.setdefault(any_.name, (any_.context, path))
        current = current or read.current
    return Kubeconfig(tuple(files), clusters, users, contexts, current)


def service_account(host: str, port: str, directory: Path, namespace: str) -> Access:
    """Of a pod, whose environment says where the API server is. Its token changes hourly, and its CA may."""
    url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    server = Server(url, authority=directory / "ca.crt", compress=False)
    return Access(server, User(token_file=directory / "token"), namespace or "default", "the pod's service account")


def _read(path: Path, text: str) -> _File:
    if len(text) > LARGEST:
        raise KubeconfigError(f"{path}: it is longer than {LARGEST} characters, so it is no kubeconfig")
    try:
        return msgspec.convert(yaml.safe_load(text) or {}, _File)
    except msgspec.ValidationError as error:
        raise KubeconfigError(f"{path}: {str(error).replace('$.', '')}; write it as kubectl does") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise KubeconfigError(f"{path}: it is no YAML: {' '.join(str(error).split())[:300]}") from error


def _server(cluster: _Cluster, path: Path, what: str, certificate: Material | None) -> Server:
    if not cluster.server:
        raise KubeconfigError(f"{what}: it has no server; set it to the API server's URL")
    if cluster.insecure and (cluster.authority or cluster.authority_data):
        text = "insecure-skip-tls-verify and certificate-authority exclude one another; take one out"
        raise KubeconfigError(f"{what}: {text}")
    url = cluster.server.rstrip("/")
    if "://" not in url:
        by_tls = cluster.insecure or cluster.authority or cluster.authority_data or certificate
        url = f"{'https' if by_tls else 'http'}://{url}"
    if (fault := _url_fault(url)) is not None:
        raise KubeconfigError(f"{what}: server {cluster.server} {fault}")
    if cluster.proxy and (fault := _url_fault(cluster.proxy)) is not None:
        raise KubeconfigError(f"{what}: proxy-url {cluster.proxy} {fault}")
    extensions = {each.name: each.extension for each in cluster.extensions or ()}
    return Server(
        url,
        _material(cluster.authority_data, cluster.authority, path, f"{what}: certificate-authority-data"),
        not cluster.insecure,
        cluster.tls_name,
        cluster.proxy,
        not cluster.uncompressed,
        extensions.get(_EXEC_EXTENSION),
    )


def _url_fault(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return "is no URL"
    if parts.scheme not in _HTTP:
        return f"is of the scheme {parts.scheme}, which is not supported; use http or https"
    return None if sound else "names no host"


def _user(user: _User, path: Path, what: str) -> User:
    if user.provider is not None:
        text = "auth-provider is gone from Kubernetes since 1.26; use exec, as the cloud's documentation says"
        raise KubeconfigError(f"{what}: {text}")
    certificate = _material(user.certificate_data, user.certificate, path, f"{what}: client-certificate-data")
    key = _material(user.key_data, user.key, path, f"{what}: client-key-data", is_private=True)
    if (certificate is None) != (key is None):
        raise KubeconfigError(f"{what}: client-certificate and client-key belong together; add the other one")
    if user.token and user.username:
        raise KubeconfigError(f"{what}: token and username exclude one another; take one out")
    return User(
        certificate,
        key,
        PrivateStr(user.token) if user.token else "",
        path.parent / user.token_file if user.token_file else None,
        user.username,
        PrivateStr(user.password) if user.password else "",
        _plugin(user.exec, path, what) if user.exec is not None else None,
        _impersonation(user, what),
    )


def _plugin(source: _Exec, path: Path, what: str) -> Plugin:
    versions = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
    if source.api_version not in versions:
        text = f"exec.apiVersion {source.api_version or 'is missing, it'} has to be {' or '.join(versions)}"
        raise KubeconfigError(f"{what}: {text}")
    if not source.command:
        raise KubeconfigError(f"{what}: exec.command is missing; name the program that makes credentials")
    if not source.interactive and source.api_version == versions[0]:
        raise KubeconfigError(f"{what}: exec.interactiveMode is missing; write IfAvailable, Always or Never")
    if source.interactive not in ("", "Never", "IfAvailable", "Always"):
        raise KubeconfigError(f"{what}: exec.interactiveMode {source.interactive} is not IfAvailable, Always or Never")
    # A bare name is looked for in $PATH, any other beside the file.
    is_bare = PurePath(source.command).name == source.command
    return Plugin(
        source.command if is_bare else str(path.parent / source.command),
        source.api_version,
        source.args or (),
        {each.name: each.value for each in source.env or ()},
        source.hint,
        source.wants_cluster,
        source.interactive or "IfAvailable",
    )


def _impersonation(user: _User, what: str) -> tuple[tuple[str, str], ...]:
    """Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation"""
    others = user.as_uid or user.as_groups or user.as_extra
    if not user.as_user:
        if others:
            raise KubeconfigError(f"{what}: as-uid, as-groups and as-user-extra need an `as`; say whom to act as")
        return ()
    found = [("Impersonate-User", user.as_user)]
    if user.as_uid:
        found.append(("Impersonate-Uid", user.as_uid))
    found += (("Impersonate-Group", group) for group in user.as_groups or ())
    for key, values in (user.as_extra or {}).items():
        found += ((f"Impersonate-Extra-{quote(key.lower(), safe='')}", value) for value in values)
    return tuple(found)


def _material(data: str, name: str, path: Path, what: str, is_private: bool = False) -> Material | None:
    """What stands in the file itself counts before the name of another."""
    if not data:
        return path.parent / name if name else None
    try:
        found = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise KubeconfigError(f"{what} is no base64 ({error}); write it as kubectl does") from error
    return PrivateBytes(found) if is_private else found
