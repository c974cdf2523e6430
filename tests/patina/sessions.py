"""Runs what the docs say should be typed into a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from patina.local.child_process import PYTHON
from tests.patina.conftest import Up


def shell(session: str, service: Up, desk: Path) -> str:
    commands = desk / "bin"
    commands.mkdir()
    (commands / "patina").write_text(f'#!/bin/sh\nexec {" ".join(PYTHON)} -m patina "$@"\n')
    if not shutil.which("jq"):  # the little of it that the sessions ask for
        (commands / "jq").write_text(
            f"#!{sys.executable}\nimport json, re, sys\nfound = json.load(sys.stdin)\n"
            "for name, index in re.findall(r'\\.(\\w+)|\\[(\\d+)\\]', sys.argv[-1]):\n"
            "    found = found[name] if name else found[int(index)]\nprint(found)\n"
        )
    for command in commands.iterdir():
        command.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", session],
        cwd=desk,
        env=service.environment | {"PATH": f"{commands}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
