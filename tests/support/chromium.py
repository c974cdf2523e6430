"""Finds a Chromium for the page's tests. `make test` runs this module first, to install one if there is none.

PATINA_TEST_BROWSER comes first, then the system's browser, then Playwright's. If none is found, root on Debian or
Ubuntu gets the distribution's package, and everybody else Playwright's download in their own cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "brave-browser")
INSTALL_TIMEOUT = 300  # seconds
NOT_FOUND = (
    "No Chromium found. Install your system's (apt-get install chromium) or Playwright's "
    "(.venv/bin/playwright install chromium), or set PATINA_TEST_BROWSER."
)


def find_chromium() -> str | None:
    """Returns the path of a browser, or None."""
    named = os.environ.get("PATINA_TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if named:
        return named
    with sync_playwright() as playwright:
        bundled = playwright.chromium.executable_path
    return bundled if Path(bundled).exists() else None


def install_chromium() -> None:
    apt = shutil.which("apt-get") if os.geteuid() == 0 else None
    commands = (
        [[apt, "update", "-qq"], [apt, "install", "-qq", "-y", "--no-install-recommends", "chromium"]] if apt else []
    )
    commands.append([sys.executable, "-m", "playwright", "install", "chromium"])
    for command in commands:
        print("installing a Chromium for the page's tests:", *command, flush=True)
        try:
            subprocess.run(command, check=False, timeout=INSTALL_TIMEOUT, capture_output=True)
        except subprocess.TimeoutExpired:
            continue
        if find_chromium():
            return


if __name__ == "__main__":
    if not find_chromium():
        install_chromium()
    if not find_chromium():
        print(f"The page's tests will be skipped. {NOT_FOUND}")
