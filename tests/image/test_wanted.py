from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _wanted(lock: str, *named: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, ROOT / "image/wanted.py", *named], input=lock, capture_output=True, text=True, check=True
    )
    return re.findall(r"(?m)^([^ #=]+)==", done.stdout)


LOCK = """\
a==1 \\
    --hash=sha256:aa
    # via pilotfish (pyproject.toml)
b==2 ; sys_platform == 'linux' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via
    #   a
    #   tester
c==3 \\
    --hash=sha256:dd
    # via b
tester==4 \\
    --hash=sha256:ee
    # via pilotfish (pyproject.toml:dev)
only-tester==5 \\
    --hash=sha256:ff
    # via tester
"""


def test_what_only_development_wants_is_left_out() -> None:
    assert _wanted(LOCK) == ["a", "b", "c"]


def test_what_is_named_comes_with_all_that_it_wants() -> None:
    assert _wanted(LOCK, "tester") == ["a", "b", "c", "tester", "only-tester"]


def test_the_lock_gives_the_image_what_pyproject_asks_for_and_no_tools() -> None:
    wanted = _wanted((ROOT / "requirements.lock").read_text())
    asked = re.search(r"(?ms)^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text())
    assert asked is not None
    direct = {name.lower() for name in re.findall(r'"([A-Za-z0-9-]+)', asked[1])}
    assert direct <= set(wanted)
    assert not {"mypy", "pytest", "ruff", "uv", "hypothesis"} & set(wanted)
