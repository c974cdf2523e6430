"""The Chromium that the page is tested in. `make test` runs this first, to fetch one where there is none.

Taken is the one that PATINA_TEST_BROWSER names, else the system's, else Playwright's own. Root on Debian or Ubuntu gets
the distribution's, everybody else Playwright's, which lands in their own cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "brave-browser")
FETCH_SECONDS = 300
NONE = (
    "there is no Chromium to test the page in. Install your system's (apt-get install chromium) or Playwright's "
    "(.venv/bin/playwright install chromium), or name one in PATINA_TEST_BROWSER."
)


def find() -> str | None:
    named = os.environ.get("PATINA_TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if named:
        return named
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def fetch() -> None:
    apt = shutil.which("apt-get") if os.geteuid() == 0 else None
    commands = (
        [[apt, "update", "-qq"], [apt, "install", "-qq", "-y", "--no-install-recommends", "chromium"]] if apt else []
    )
    commands.append([sys.executable, "-m", "playwright", "install", "chromium"])
    for command in commands:
        print("fetching a Chromium to test the page in:", *command, flush=True)
        try:
            subprocess.run(command, check=False, timeout=FETCH_SECONDS, capture_output=True)
        except subprocess.TimeoutExpired:
            continue
        if find():
            return


if __name__ == "__main__":
    if not find():
        fetch()
    if not find():
        print(f"The page's tests will be left out: {NONE}")
