"""Every form of a kubeconfig, as kubectl takes it."""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.cluster.kubeconfig import Access, KubeconfigError, Plugin, User, merge, service_account
from pilotfish.model.private import reveal

HERE = Path("/home/ann/.kube/config")


def config(
    cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, context: dict[str, Any] | None = None
) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "preferences": {},
            "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443"} | (cluster or {})}],
            "users": [{"name": "u", "user": user or {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"} | (context or {})}],
            "current-context": "x",
        }
    )


def access(*texts: str, context: str = "") -> Access:
    return merge((HERE.with_name(f"config{number or ''}"), text) for number, text in enumerate(texts)).access(context)


def of_user(**user: Any) -> User:
    return access(config(user=user)).user


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_files_are_found_beside_the_kubeconfig() -> None:
    found = access(config({"certificate-authority": "pki/ca.crt"}, {"client-certificate": "a.crt", "client-key": "/k"}))
    assert found.server.authority == Path("/home/ann/.kube/pki/ca.crt")
    assert (found.user.certificate, found.user.key) == (Path("/home/ann/.kube/a.crt"), Path("/k"))
    assert of_user(tokenFile="token").token_file == Path("/home/ann/.kube/token")


def test_what_stands_in_the_kubeconfig_counts_before_a_file() -> None:
    cluster = {"certificate-authority": "ca.crt", "certificate-authority-data": f"{encoded('CA')}\n"}
    found = access(config(cluster, {"client-certificate-data": encoded("CERT"), "client-key-data": encoded("KEY")}))
    assert found.server.authority == b"CA"
    assert found.user.certificate == b"CERT"
    assert found.user.key is not None
    assert reveal(found.user.key if isinstance(found.user.key, bytes) else b"") == b"KEY"
    assert "KEY" not in repr(found)


def test_secrets_are_not_shown() -> None:
    assert reveal(of_user(token="t0p").token) == "t0p"
    assert "t0p" not in repr(of_user(token="t0p"))
    assert "t0p" not in repr(of_user(username="ann", password="t0p"))


def test_the_server() -> None:
    wanted = {"tls-server-name": "kube", "proxy-url": "http://proxy:3128", "disable-compression": True}
    server = access(config({**wanted, "server": "https://kube.example.com/k8s/clusters/a/"})).server
    assert server.url == "https://kube.example.com/k8s/clusters/a"
    assert (server.tls_name, server.proxy, server.compress, server.verified) == (
        "kube",
        "http://proxy:3128",
        False,
        True,
    )
    assert access(config({"insecure-skip-tls-verify": True, "server": "10.0.0.1"})).server.url == "https://10.0.0.1"
    assert access(config({"server": "localhost:8080"})).server.url == "http://localhost:8080"


def test_whom_to_act_as() -> None:
    user = of_user(**{"as": "bob", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"x/Y": ["1", "2"]}})
    assert user.headers == (
        ("Impersonate-User", "bob"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-x%2Fy", "1"),
        ("Impersonate-Extra-x%2Fy", "2"),
    )


def test_a_plugin() -> None:
    source: dict[str, Any] = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "./login",
        "args": ["--now"],
        "env": [{"name": "A", "value": "b"}],
        "installHint": "get it",
        "provideClusterInfo": True,
        "interactiveMode": "Never",
    }
    assert of_user(exec=source).plugin == Plugin(
        "/home/ann/.kube/login", source["apiVersion"], ("--now",), {"A": "b"}, "get it", True, "Never"
    )
    version = "client.authentication.k8s.io/v1beta1"
    older: dict[str, Any] = {
        "apiVersion": version,
        "command": "login",
        "args": None,
        "env": None,
    }
    assert of_user(exec=older).plugin == Plugin("login", version)


def test_of_several_files_the_first_has_each_entry_whole() -> None:
    first = config({"server": "https://first"}, {"token": "first"})
    second = config(
        {"server": "https://second", "tls-server-name": "second"}, {"token": "second"}, {"namespace": "two"}
    )
    other = yaml.safe_load(second)
    other["contexts"].append({"name": "y", "context": {"cluster": "c", "namespace": "three"}})
    other["current-context"] = "y"
    found = access(first, yaml.safe_dump(other))
    assert (found.server.url, found.server.tls_name, found.namespace) == ("https://first", "", "default")
    assert reveal(found.user.token) == "first"
    of_second = access(first, yaml.safe_dump(other), context="y")
    assert (of_second.server.url, of_second.namespace, of_second.user) == ("https://first", "three", User())
    assert access("", "---\n", first).server.url == "https://first"


def test_a_pods_account() -> None:
    found = service_account("fd00::1", "443", Path("/run/account"), "istio-system")
    assert found.server.url == "https://[fd00::1]:443"
    assert (found.server.authority, found.user.token_file) == (Path("/run/account/ca.crt"), Path("/run/account/token"))
    assert found.namespace == "istio-system"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "it is no YAML"),
        ("a: 2026-99-99", "it is no YAML"),
        ("[" * 5000, "it is no YAML"),
        ("clusters: 7", "Expected `array | null`, got `int` - at `clusters`"),
        (config({"server": ""}), "cluster c: it has no server"),
        (config({"server": "ftp://a"}), "of the scheme ftp"),
        (config({"server": "https://:6443"}), "names no host"),
        (config({"server": "https://a:99999"}), "is no URL"),
        (
            config({"proxy-url": "socks5://a:1"}),
            "proxy-url socks5://a:1 is of the scheme socks5, which is not supported",
        ),
        (config({"insecure-skip-tls-verify": "yes"}), "Expected `bool`, got `str`"),
        (config({"insecure-skip-tls-verify": True, "certificate-authority": "a"}), "exclude one another"),
        (config({"certificate-authority-data": "?"}), "certificate-authority-data is no base64"),
        (config(user={"client-certificate": "a"}), "client-certificate and client-key belong together"),
        (config(user={"token": "a", "username": "b"}), "token and username exclude one another"),
        (config(user={"as-groups": ["a"]}), "need an `as`"),
        (config(user={"auth-provider": {"name": "gcp"}}), "auth-provider is gone from Kubernetes"),
        (config(user={"exec": {"command": "a"}}), "exec.apiVersion is missing"),
        (config(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1"}}), "v1alpha1 has to be"),
        (config(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1"}}), "exec.command is missing"),
        (
            config(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "a"}}),
            "exec.interactiveMode is missing",
        ),
        (config(context={"cluster": "d"}), "context x names the cluster d, which there is not; there is cluster c"),
        (config(context={"user": "v"}), "context x names the user v, which there is not; there is user u"),
        (config().replace("current-context: x", "current-context: z"), "there is no context z; there is context x"),
        (config().replace("current-context: x", ""), "there is no current-context; give --context x"),
        ("", "there is no current-context; give --context none"),
    ],
)
def test_what_can_not_be_used_is_named(text: str, said: str) -> None:
    with pytest.raises(KubeconfigError) as raised:
        access(text)
    assert said in str(raised.value)
    assert "/home/ann/.kube/config" in str(raised.value)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "cluster", "user", "context", "server", "exec", "token", "as"]), inside
        )
    ),
    max_leaves=12,
)
_TOP = st.sampled_from(["clusters", "users", "contexts", "current-context", "kind"])


@given(st.dictionaries(_TOP, _VALUES))
def test_whatever_it_holds_nothing_but_its_own_error_comes_of_it(document: object) -> None:
    with suppress(KubeconfigError):
        access(yaml.safe_dump(document))
