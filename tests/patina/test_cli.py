"""The command line as a person uses it, in a pipe: with a service that runs, and with one started for the purpose."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from patina.cli.app import cli
from patina.cli.main import main  # noqa: F401 - with it come all commands
from patina.client import Client
from patina.local.child_process import PYTHON
from tests.patina.conftest import Trained, Up, alive, descendants, photos
from tests.wait_until import soon


@pytest.fixture(scope="module")
def lr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos") / "real", 4, (48, 40))


@pytest.fixture(scope="module")
def hr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos") / "clean", 3, (192, 160))


def said(result: subprocess.CompletedProcess[str]) -> str:
    return " ".join((result.stdout + result.stderr).split())


def test_jobs_are_listed_where_no_service_runs_and_none_is_started(up: Up) -> None:
    listed = up.command("jobs")
    assert listed.returncode == 0, said(listed)
    assert "No service runs" in said(listed)
    assert not (up.data_dir / "service.log").exists()


def test_nothing_trained_yet(up: Up, lr: Path) -> None:
    assert "Nothing answers at http://127.0.0.1:9" in said(up.command("sr", str(lr), "--api", "http://127.0.0.1:9"))
    refused = up.command("sr", str(lr))
    assert refused.returncode == 1
    assert "Train first: patina train" in said(refused)


def test_trains_degrades_and_super_resolves(service: Up, lr: Path, hr: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheets" / "tiny.png"
    how = ("--steps", "2", "--name", "tiny", "--seed", "1", "--sheet", str(sheet))
    trained = service.command("train", str(lr), "--hr", str(hr), *how)
    assert trained.returncode == 0, said(trained)
    assert f"The contact sheet is {sheet}" in trained.stdout
    assert "Training: 2/2 steps" in trained.stdout
    dataset = re.search(r"--dataset (\S+)", trained.stdout)
    assert dataset

    assert "only 4 real photos" in said(trained)
    report = service.command("report")
    assert report.returncode == 0, said(report)
    assert "told apart" in report.stdout
    assert "only 4 real photos" in said(report)
    assert json.loads(service.command("report", "--json").stdout)["kernels"]["major"]["mean"] > 0

    again = service.command("sheet", "--out", str(tmp_path / "again.png"), "--json")
    assert again.returncode == 0, said(again)
    assert json.loads(again.stdout)["sheet"] == str(tmp_path / "again.png")
    assert sheet.read_bytes() == (tmp_path / "again.png").read_bytes()
    with Image.open(sheet) as drawn:
        assert drawn.height > 2000

    made = service.command("degrade", str(hr), "--samples", "2", "--seed", "3", "--out", str(tmp_path / "made"))
    assert made.returncode == 0, said(made)
    assert f"6 of 6 results are in {tmp_path / 'made'}" in said(made)
    lines = [json.loads(line) for line in (tmp_path / "made/manifest.jsonl").read_text().splitlines()]
    assert {(line["source"], line["sample"]) for line in lines} == {(f"{i}.png", j) for i in range(3) for j in range(2)}
    assert all((tmp_path / "made" / line[kind]).is_file() for line in lines for kind in ("lr", "kernel", "noise"))

    again = service.command(
        "degrade", str(hr), "--samples", "2", "--seed", "3", "--dataset", dataset[1], "-o", str(tmp_path / "again")
    )
    assert again.returncode == 0, said(again)
    assert contents(tmp_path / "made") == contents(tmp_path / "again")

    enlarged = service.command("sr", str(lr / "0.png"), "--out", str(tmp_path / "sr"))
    assert enlarged.returncode == 0, said(enlarged)
    (picture,) = (tmp_path / "sr/sr").iterdir()
    assert Image.open(picture).size == (192, 160)

    training = json.loads(service.command("models", "--json").stdout)[0]["job"]
    log = service.command("jobs", training, "--log")
    assert log.returncode == 0, said(log)
    assert re.search(r"^\S+ info job ended status=succeeded$", log.stdout, re.MULTILINE)
    assert re.search(r"^\S+ metrics step=2 ", log.stdout, re.MULTILINE)
    told = json.loads(service.command("jobs", training, "--log", "--json").stdout)
    assert [event["number"] for event in told] == list(range(1, len(told) + 1))
    for steer in ("--finish", "--continue"):
        refused = service.command("jobs", training, steer)
        assert refused.returncode == 1
        assert "patina: Only a training that" in said(refused)

    listed = service.command("jobs")
    assert [line.split()[1:3] for line in listed.stdout.splitlines()[1:5]] == [
        ["sr", "succeeded"],
        ["degrade", "succeeded"],
        ["degrade", "succeeded"],
        ["train", "succeeded"],
    ]


def test_datasets_and_models_are_listed_shown_fetched_and_deleted(
    service: Up, trained: Trained, lr: Path, tmp_path: Path
) -> None:
    listed = service.command("models", "--dataset", trained.dataset)
    assert listed.stdout.splitlines()[1].split()[:2] == [trained.model, trained.dataset]
    fetched = service.command("models", trained.model, "--out", str(tmp_path / "model"))
    assert fetched.returncode == 0, said(fetched)
    assert (tmp_path / "model/degrader.safetensors").read_bytes() == trained.degrader.read_bytes()

    with Client(trained.url) as patina:
        dataset = patina.datasets.create("a name that is long, with [brackets]")
        dataset.upload("lr", lr)
    assert "a name that is long, with [brackets]" in service.command("datasets").stdout
    shown = service.command("datasets", dataset.id)
    assert len(re.findall(r"^lr +48 × 40 +\d.png$", shown.stdout, re.MULTILINE)) == 4
    shared = json.loads(service.command("datasets", dataset.id, "--share", "--json").stdout)
    assert (shared["shared"], len(shared["photos"])) == (True, 4)
    unsure = service.command("datasets", dataset.id, "--delete")  # nobody answers the question
    assert unsure.returncode == 1
    assert "cannot be undone" in said(unsure)
    deleted = service.command("datasets", dataset.id, "--delete", "--yes")
    assert deleted.returncode == 0, said(deleted)
    assert service.command("datasets", dataset.id).returncode == 1


def test_one_bad_photo_fails_alone(service: Up, hr: Path, tmp_path: Path) -> None:
    bad = tmp_path / "[red]bad.png"
    bad.write_text("no picture")
    made = service.command("degrade", str(hr), str(bad), "--out", str(tmp_path / "made"))
    assert made.returncode == 1
    assert "[red]bad.png:" in said(made)
    assert "3 of 4 results" in said(made)


def test_mistakes_are_said_before_anything_is_made(service: Up, lr: Path, hr: Path) -> None:
    missing = service.command("train", str(lr), "--hr", "nowhere")
    assert missing.returncode == 1
    assert "There is no file or folder nowhere." in said(missing)

    before = len(service.command("jobs").stdout.splitlines())
    preset = service.command("train", str(lr), "--hr", str(hr), "--preset", "no-such")
    assert preset.returncode == 1
    assert "preset" in said(preset)
    too_small = service.command("train", str(lr), "--hr", str(lr))
    assert too_small.returncode == 1
    assert "0.png: The image has 48×40 pixels" in said(too_small)
    assert len(service.command("jobs").stdout.splitlines()) == before

    assert service.command("jobs", "no-such").returncode == 1
    assert service.command("jobs", "--cancel").returncode == 2
    assert service.command("jobs", "no-such", "--cancel", "--retry").returncode == 2
    assert service.command("datasets", "--delete").returncode == 2
    assert service.command("degrade", str(hr), "--samples", "0").returncode == 2
    assert service.command("train", str(lr), "--hr", str(hr), "--sheet", "sheet.pgn").returncode == 2


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("train --hr nowhere", "--minutes", "0"),
        ("train --hr nowhere", "--minutes", "nan"),
        ("train --hr nowhere", "--minutes", "inf"),
        ("train --hr nowhere", "--seed", "-1"),
        ("train --hr nowhere", "--steps", "10000001"),
        ("degrade", "--seed", "-1"),
        ("degrade", "--min-detail", "0"),
        ("degrade", "--min-detail", "256"),
        ("degrade", "--crop", "8193"),
        ("degrade", "--crop-step", "8193"),
    ],
)
def test_what_the_service_would_refuse_after_all_was_sent_is_refused_at_once(
    command: str, option: str, value: str
) -> None:
    refused = CliRunner().invoke(cli, [*command.split(), "nowhere", option, value])
    assert refused.exit_code == 2, refused.exception  # that there is no photo is found out later
    assert f"Invalid value for '{option}'" in refused.output


def test_with_json_standard_output_is_one_document(service: Up, hr: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    made = service.command("degrade", str(hr), str(bad), "--json", "--out", str(tmp_path / "made"))
    assert made.returncode == 1
    told = json.loads(made.stdout)
    assert (told["job"]["kind"], told["job"]["status"], told["ok"]) == ("degrade", "succeeded", 3)
    assert [(line["source"], line["code"]) for line in told["failed"]] == [("bad.png", "not_an_image")]
    assert "Degrading" in made.stderr

    listed = json.loads(service.command("jobs", "--json").stdout)
    assert listed[0] == json.loads(service.command("jobs", listed[0]["id"], "--json").stdout)
    refused = service.command("jobs", "no-such", "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "job_not_found"
    lost = service.command("jobs", "--json", "--api", "http://127.0.0.1:9")
    assert lost.returncode == 3
    assert "Nothing answers" in json.loads(lost.stdout)["error"]["message"]


def test_every_commands_help_shows_an_example_that_can_be_typed() -> None:
    command = get_command(cli)
    assert isinstance(command, TyperGroup)
    for name, each in command.commands.items():
        examples = (each.epilog or "").removeprefix("Example: ").split("\n\n")
        assert examples[0], name
        for example in examples:
            words = shlex.split(example.partition("|")[0])
            assert words[:2] == ["patina", name]
            each.make_parser(each.context_class(each)).parse_args(words[2:])  # raises what is wrong with them


def test_shells_learn_to_complete() -> None:
    asked = {"_PATINA_COMPLETE": "complete_bash", "COMP_WORDS": "patina deg", "COMP_CWORD": "1"}
    program = "import sys; sys.argv = ['patina']; from patina.cli import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert answer.stdout.split() == ["degrade"]


@pytest.fixture
def long_training(service: Up, lr: Path, hr: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*PYTHON, "-m", "patina", "train", str(lr), "--hr", str(hr), "--steps", "100000"],
        env=service.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()
    # Its job would go on for hours beside all other tests.
    for job in json.loads(service.command("jobs", "--json").stdout):
        if job["status"] in ("queued", "running"):
            service.command("jobs", job["id"], "--cancel")


def test_ctrl_c_ends_the_waiting_and_cancel_the_job(service: Up, long_training: subprocess.Popen[str]) -> None:
    assert soon(lambda: " running " in service.command("jobs").stdout)
    long_training.send_signal(signal.SIGINT)
    _, hint = long_training.communicate(timeout=20)
    assert long_training.returncode == 130
    follow = re.search(r"patina jobs (\S+)", hint)
    assert follow
    assert "running" in service.command("jobs").stdout.splitlines()[1]
    assert service.command("jobs", follow[1], "--cancel").returncode == 0
    followed = service.command("jobs", follow[1])
    assert followed.returncode == 1
    assert "canceled" in said(followed)


def test_a_service_for_the_purpose_goes_with_the_command_and_the_job_goes_on_with_the_next(
    up: Up, lr: Path, hr: Path
) -> None:
    process = subprocess.Popen(
        [*PYTHON, "-m", "patina", "train", str(lr), "--hr", str(hr), "--steps", "1"],
        env=up.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert soon(lambda: "job started" in log_of(up), seconds=60)
    family = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    _, hint = process.communicate(timeout=40)
    assert process.returncode == 130
    follow = re.search(r"patina jobs (\S+)", hint)
    assert follow, hint
    assert [pid for pid in family if alive(pid)] == []
    assert list(up.temporary.iterdir()) == []

    listed = up.command("jobs")
    assert follow[1] in listed.stdout
    assert "No service runs" in said(listed)
    followed = up.command("jobs", follow[1])
    assert followed.returncode == 0, said(followed)
    assert "succeeded" in followed.stdout


def log_of(up: Up) -> str:
    log = up.data_dir / "service.log"
    return log.read_text() if log.exists() else ""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
