"""`pilotfish capture`, as a user types it."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pilotfish.capture import CaptureSpec, native_rules, parse_iptables, parse_nft, parse_spec, rules
from pilotfish.cli.app import pilotfish
from pilotfish.runtime.linux.netns import NetNs

CONFIG = 'inbound_ports_include: "*"\noutbound_ip_ranges_include: "*"\nenable_ipv6: true\n'
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def run(*arguments: str, text: str = CONFIG) -> Result:
    return CliRunner().invoke(pilotfish, ["capture", *arguments], input=text)


def saved(netns: NetNs) -> str:
    with netns.entered():
        return subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout


def test_render_is_what_iptables_restore_reads() -> None:
    result = run("render", "--config", "-", "--family", "4")
    assert result.exit_code == 0
    spec, _ = parse_spec({"inbound_ports_include": "*", "outbound_ip_ranges_include": "*"})
    assert spec is not None
    assert parse_iptables(result.stdout) == rules(spec, 4)


def test_render_both_families() -> None:
    result = run("render", "--config", "-")
    assert result.stdout.count("COMMIT") == 2
    assert "-s ::6/128 -o lo -j RETURN" in result.stdout


def test_render_json_says_what_each_rule_is_for(tmp_path: Path) -> None:
    config = tmp_path / "capture.yaml"
    config.write_text(CONFIG)
    result = run("render", "--config", str(config), "--family", "6", "-o", "json")
    rows = json.loads(result.stdout)
    assert {row["family"] for row in rows} == {6}
    assert rows[0]["id"] == "nat/ISTIO_INBOUND/1"
    assert all(row["why"] for row in rows)


def test_all_mistakes_are_named_with_their_line() -> None:
    result = run("render", "--config", "-", text="proxy_port: 0\ninbound_port_include: '*'\n")
    assert result.exit_code == 1
    assert "-:1: error: proxy_port: 0: a port is a number" in result.stderr
    assert "-:2: error: inbound_port_include: there is no such field" in result.stderr
    assert result.stdout == ""


def test_an_empty_configuration_is_the_default() -> None:
    result = run("render", "--config", "-", "--family", "4", text="")
    assert parse_iptables(result.stdout) == rules(CaptureSpec(), 4)


def test_a_warning_does_not_stop_it() -> None:
    result = run("render", "--config", "-", "--family", "4", text="redirect_dns: true\n")
    assert result.exit_code == 0
    assert "warning: redirect_dns: no DNS is captured" in result.stderr


@pytest.mark.parametrize("text", ["a: [", "a: 1\n---\nb: 2\n"])
def test_what_is_no_configuration(text: str) -> None:
    assert run("render", "--config", "-", text=text).exit_code == 1


def test_a_missing_file_is_named() -> None:
    result = run("render", "--config", "/no/such/file")
    assert result.exit_code == 1
    assert "/no/such/file can't be read" in result.stderr


def test_one_namespace_is_said_once() -> None:
    assert run("clean", "--netns", "a", "--pid", "1").exit_code == 2


@needs_root
def test_apply_and_clean(netns: NetNs) -> None:
    applied = run("apply", "--config", "-", "--netns", netns.name)
    assert applied.exit_code == 0, applied.output
    assert f"applied {netns.path}: 15 rules for IPv4, 15 rules for IPv6" in applied.output
    assert "-A OUTPUT -j ISTIO_OUTPUT" in saved(netns)

    cleaned = run("clean", "--netns", str(netns.path), "-o", "json")
    assert json.loads(cleaned.stdout) == {"netns": str(netns.path)}
    assert "ISTIO" not in saved(netns)


@needs_root
def test_the_namespace_of_a_process(netns: NetNs) -> None:
    with netns.entered():
        process = subprocess.Popen(["sleep", "60"])
    try:
        assert run("apply", "--config", "-", "--pid", str(process.pid)).exit_code == 0
        assert "ISTIO_OUTPUT" in saved(netns)
    finally:
        process.kill()
        process.wait()


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run("render", "--config", "-").exit_code == 0
    result = run("apply", "--config", "-", "--netns", "any")
    assert result.exit_code == 1
    assert "need root" in result.stderr


SIDECAR = (
    "-p",
    "15001",
    "-z",
    "15006",
    "-u",
    "1337",
    "-m",
    "REDIRECT",
    "-i",
    "*",
    "-x",
    "",
    "-b",
    "*",
    "-d",
    "15090,15021",
)
"""The arguments of Istio's init container."""


def test_istios_flags_say_the_same() -> None:
    result = run("render", *SIDECAR, "-o", "8443", "-o", "text", "-c", "eth5", "-k", "eth6", "--capture-all-dns")
    assert result.exit_code == 0, result.stderr
    expected = {
        "inbound_ports_include": "*",
        "outbound_ip_ranges_include": "*",
        "inbound_ports_exclude": [15090, 15021],
        "outbound_ports_exclude": [8443],
        "exclude_interfaces": ["eth5"],
        "reroute_virtual_interfaces": ["eth6"],
        "capture_all_dns": True,
    }
    spec, _ = parse_spec(expected)
    assert spec is not None
    assert parse_iptables(result.stdout) == rules(spec, 4)


def test_a_flag_goes_before_the_configuration_and_the_group_follows_the_user() -> None:
    result = run("render", "--config", "-", "-b", "80", "-u", "7", text='inbound_ports_include: "*"\nproxy_port: 9\n')
    assert "-A ISTIO_INBOUND -p tcp -m tcp --dport 80 -j ISTIO_IN_REDIRECT" in result.stdout
    assert "--to-ports 9" in result.stdout
    assert "--gid-owner 7" in result.stdout


def test_a_wrong_flag_is_named_as_it_was_typed() -> None:
    result = run("render", "-b", "http", "-i", "10.0.0.0/99", "--config", "-", text="proxy_port: x\n")
    assert result.exit_code == 1
    assert "error: -b: 'http': a port is a number" in result.stderr
    assert "error: -i: '10.0.0.0/99' is no address range" in result.stderr
    assert "-:1: error: proxy_port" in result.stderr


def test_without_a_configuration_nothing_is_applied() -> None:
    result = run("apply", "--netns", "any")
    assert result.exit_code == 2
    assert "say what to capture" in result.stderr


def test_render_for_nft() -> None:
    result = run("render", "--config", "-", "--backend", "nft")
    spec, _ = parse_spec({"inbound_ports_include": "*", "outbound_ip_ranges_include": "*", "enable_ipv6": True})
    assert spec is not None
    assert parse_nft(result.stdout) == native_rules(spec)
    rows = json.loads(run("render", "--config", "-", "--backend", "nft", "-o", "json").stdout)
    assert {"iifname", "oifname lo ip saddr 127.0.0.6/32 counter return"} & {row["rule"] for row in rows}


def test_render_shows_the_routing_of_tproxy() -> None:
    result = run("render", "-m", "TPROXY", "-b", "*", "-t", "7", "-r", "8")
    assert "# ip -4 rule add fwmark 7 lookup 8" in result.stdout
    assert "# ip -4 route add local default dev lo table 8" in result.stdout


@needs_root
@pytest.mark.parametrize("backend", ["iptables-nft", "iptables-legacy", "nft"])
def test_verify_says_what_differs(netns: NetNs, backend: str) -> None:
    assert run("apply", *SIDECAR, "--backend", backend, "--netns", netns.name).exit_code == 0
    same = run("verify", *SIDECAR, "--netns", netns.name)
    assert (same.exit_code, same.stdout) == (0, f"{netns.path} holds what is meant\n")
    other = run("verify", *SIDECAR, "-q", "9", "--netns", netns.name)
    assert other.exit_code == 1
    assert "missing: nat/ISTIO_OUTPUT/9: -p tcp -m tcp --dport 9 -j ISTIO_REDIRECT" in other.stdout
    rows = json.loads(run("verify", *SIDECAR, "-q", "9", "--netns", netns.name, "-o", "json").stdout)["drift"]
    assert [row["kind"] for row in rows] == ["missing"]
    assert run("clean", "--netns", netns.name).exit_code == 0
    assert run("verify", *SIDECAR, "--netns", netns.name).exit_code == 1
