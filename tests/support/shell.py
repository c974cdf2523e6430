"""Finds the shell sessions and Python programs of the docs, and runs them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from patina.local.child_process import PYTHON
from patina.local.pidfile import read_pidfile
from tests.support.local_service import LocalService

# The small part of jq that the docs use: paths of names and indices.
JQ = f"""#!{sys.executable}
import json, re, sys
found = json.load(sys.stdin)
for name, index in re.findall(r'\\.(\\w+)|\\[(\\d+)\\]', sys.argv[-1]):
    found = found[name] if name else found[int(index)]
print(found)
"""


def run_shell(session: str, service: LocalService, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a bash session in `folder` with `patina` and `jq` on the PATH. It must succeed."""
    commands = folder / "bin"
    commands.mkdir()
    (commands / "patina").write_text(f'#!/bin/sh\nexec {" ".join(PYTHON)} -m patina "$@"\n')
    if not shutil.which("jq"):
        (commands / "jq").write_text(JQ)
    for command in commands.iterdir():
        command.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", session],
        cwd=folder,
        env=service.environment | {"PATH": f"{commands}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def run_python(program: str, service: LocalService, folder: Path) -> str:
    """Runs a program in `folder`, shortened. Returns its standard output."""
    done = subprocess.run(
        [sys.executable, "-c", shorten(program, service)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def find_code(markdown: str, language: str) -> str:
    """Returns the first code block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", markdown, re.DOTALL)
    assert found
    return found[1]


def shorten(session: str, service: LocalService) -> str:
    """Points a session to the test's service and limits its training to one step."""
    running = read_pidfile(service.data_dir)
    assert running
    shortened = session.replace("http://127.0.0.1:8000", running.url).replace('"max_minutes": 30', '"max_steps": 1')
    return shortened.replace("max_minutes=30", "max_steps=1")
