"""Helm, where there is one: in the PATH, or in the cache, as

    GOBIN=~/.cache/pilotfish/helm go install helm.sh/helm/v3/cmd/helm@v3.19.0

puts it there in four minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

_CACHED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pilotfish" / "helm" / "helm"
PROGRAM = shutil.which("helm") or (str(_CACHED) if _CACHED.exists() else "")


def helm(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([PROGRAM, *map(str, arguments)], text=True, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done


def render(chart: Path, *settings: str) -> list[dict[str, Any]]:
    """Each object as Helm would send it."""
    options = [word for setting in settings for word in ("--set", setting)]
    made = helm("template", "a", chart, "--kube-version", "1.34", "--set", "crds=false", *options).stdout
    return [document for document in yaml.safe_load_all(made) if document is not None]
