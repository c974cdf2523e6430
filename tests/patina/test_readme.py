"""What the README says is so: its curl session and its Python are taken from it and tried."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from patina.local.pidfile import read_note
from tests.patina.conftest import Up, photos
from tests.patina.sessions import shell

README = Path(__file__).parents[2] / "README.md"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def desk(service: Up, tmp_path: Path) -> Path:
    """A folder with the photos that the examples speak of."""
    for name, count, size in (("real", 3, (40, 36)), ("clean", 2, (136, 144))):
        photos(tmp_path / name, count, size)
        shutil.make_archive(str(tmp_path / name), "zip", tmp_path / name)
    return tmp_path


def for_the_test(text: str, service: Up) -> str:
    """The same session, short, and with the service where it is."""
    running = read_note(service.data_dir)
    assert running
    shortened = text.replace("http://127.0.0.1:8000", running.url).replace('"max_minutes": 30', '"max_steps": 1')
    return shortened.replace("max_minutes=30", "max_steps=1")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_curl_session(service: Up, desk: Path) -> None:
    if not shutil.which("jq"):  # the one thing that the session asks of it
        stand_in = desk / "jq"
        stand_in.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.load(sys.stdin)['id'])\n")
        stand_in.chmod(0o755)
    session = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", for_the_test(block("bash"), service)],
        cwd=desk,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:{desk}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert session.returncode == 0, session.stdout + session.stderr
    assert session.stderr.count('"succeeded"') == 3
    shutil.unpack_archive(desk / "triplets.zip", desk / "triplets")
    shutil.unpack_archive(desk / "super-resolved.zip", desk / "super-resolved")
    assert len(list((desk / "triplets/lr").iterdir())) == 8
    assert len(list((desk / "super-resolved/sr").iterdir())) == 3


def test_the_commands_for_photos_of_ones_own(service: Up, desk: Path) -> None:
    """With those of docs/report.md behind them, on the model that they trained."""
    commands = re.findall(r"^    \.venv/bin/(patina (?!demo).+)$", README.read_text(), re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["train", "report", "sheet", "degrade", "sr", "jobs"]
    report = re.search(r"```bash\n(.*?)```", (README.parent / "docs/report.md").read_text(), re.DOTALL)
    assert report
    (desk / "real").rename(desk / "my-real-photos")
    (desk / "clean").rename(desk / "my-clean-photos")
    shell("\n".join([*commands, report[1]]).replace("--minutes 10", "--steps 1"), service, desk)
    assert (desk / "contact-sheet.png").stat().st_size > 50_000
    assert len(list((desk / "triplets/lr").iterdir())) == 8
    assert len(list((desk / "super-resolved/sr").iterdir())) == 3


def test_the_python(service: Up, desk: Path) -> None:
    subprocess.run([sys.executable, "-c", for_the_test(block("python"), service)], cwd=desk, timeout=120, check=True)
    assert len((desk / "triplets/manifest.jsonl").read_text().splitlines()) == 8
