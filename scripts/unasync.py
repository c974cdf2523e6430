"""Generates the synchronous client `patina/client/_sync` from the asynchronous one, `patina/client/_async`.

    python scripts/unasync.py          # writes the files
    python scripts/unasync.py --check  # exits with status 1 if a file is out of date

`concurrency.py` and `__init__.py` are not generated: each client has its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "patina/client/_async"
TARGET = ROOT / "patina/client/_sync"
HAND_WRITTEN = {"__init__.py", "concurrency.py"}
HEADER = "# Generated from patina/client/_async/{name} by scripts/unasync.py; do not edit.\n"

REPLACEMENTS = [
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\baclos(e|ing)\b", r"clos\1"),
    (r"\baread\b", "read"),
    (r"\baiter_bytes\b", "iter_bytes"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\b_async\b", "_sync"),
]


def unasync(source: str) -> str:
    for pattern, replacement in REPLACEMENTS:
        source = re.sub(pattern, replacement, source)
    return source


def generate(name: str) -> str:
    """Returns the synchronous module, formatted by ruff, with sorted imports and joined `with` statements."""
    source = HEADER.format(name=name) + unasync((SOURCE / name).read_text())
    for command in (["check", "--quiet", "--select", "I,SIM117", "--fix"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(TARGET / name), "-"]
        source = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return source


def main(check: bool) -> int:
    """Writes or checks all modules. Returns the exit status."""
    names = {file.name for file in SOURCE.glob("*.py")} - HAND_WRITTEN
    stale = sorted({file.name for file in TARGET.glob("*.py")} - HAND_WRITTEN - names)
    for name in sorted(names):
        target, content = TARGET / name, generate(name)
        if target.exists() and target.read_text() == content:
            continue
        stale.append(name)
        if not check:
            target.write_text(content)
    for name in stale if check else ():
        print(f"{TARGET.relative_to(ROOT) / name} is out of date. Run: python scripts/unasync.py")
    if not check:
        for name in set(stale) - names:
            (TARGET / name).unlink()
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
