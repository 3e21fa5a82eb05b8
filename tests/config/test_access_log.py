"""Formats of access logs: what is said of one is what Envoy says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pilotfish.config.checks.access_log import OPERATORS, find_fault
from pilotfish.runtime.agent import AgentHost

_ARGUMENTS = {
    "CEL": "(request.path)", "COALESCE": '({"operators": ["PROTOCOL"]})', "COMMON_DURATION": "(US_CX_BEG:US_CX_END:ms)",
    "METADATA": "(ROUTE:a)",
}  # fmt: skip
_PLAIN = [name for name in OPERATORS if find_fault(f"%{name}%") is None]
EVERYTHING = " ".join(
    f"%{name}%" if name in _PLAIN else f"%{name}{_ARGUMENTS.get(name, '(a)')}%" for name in sorted(OPERATORS)
)
FORMATS = (
    EVERYTHING, "", "text", "%%", "100%", "%PROTOCOL", "%protocol%", "% START_TIME%", "%NOPE%", "%REQ%", "%REQ()%",
    "%REQ(a%", "%REQ(a?b):5%", "%REQ(a?b?c)%", "%PROTOCOL:5%", "%START_TIME(%Y-%m)%", "%REQ(X)%:%",
    "%RESPONSE_CODE%%RESPONSE_FLAGS%", "%DYNAMIC_METADATA(a:b):9%", "%DURATION%ms",
)  # fmt: skip


@pytest.mark.parametrize("text", FORMATS, ids=lambda text: text[:24])
def test_the_verdict_is_envoys(text: str, tmp_path: Path) -> None:
    log = {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/null",
            "log_format": {"text_format_source": {"inline_string": text or "-"}},
        },
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 1}}
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps({"admin": {"access_log": [log], "address": address}}))
    envoy = str(AgentHost().find_envoy())
    completed = subprocess.run(
        [envoy, "--mode", "validate", "-c", str(config)], capture_output=True, check=False, text=True
    )
    assert (find_fault(text) is None) == (completed.returncode == 0), completed.stderr[-500:]
