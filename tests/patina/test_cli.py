"""The command line in a pipe, with a running service and with a temporary one."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from patina.cli.app import cli
from patina.cli.main import main  # noqa: F401 - registers all commands
from patina.client import Client
from patina.local.child_process import PYTHON
from tests.support.images import save_photos
from tests.support.local_service import (
    LocalService,
    TrainedModel,
    enable_sigint,
    is_alive,
    list_descendants,
    normalize_output,
)
from tests.support.wait_until import wait_until


@pytest.fixture(scope="module")
def lr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photos(tmp_path_factory.mktemp("photos") / "real", 4, (48, 40))


@pytest.fixture(scope="module")
def hr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photos(tmp_path_factory.mktemp("photos") / "clean", 3, (192, 160))


def test_jobs_lists_without_starting_a_service(up: LocalService) -> None:
    listed = up.command("jobs")
    assert listed.returncode == 0, normalize_output(listed)
    assert "No service runs" in normalize_output(listed)
    assert not (up.data_dir / "service.log").exists()


def test_sr_without_a_model_is_refused(up: LocalService, lr: Path) -> None:
    assert "Nothing answers at http://127.0.0.1:9" in normalize_output(
        up.command("sr", str(lr), "--api", "http://127.0.0.1:9")
    )
    refused = up.command("sr", str(lr))
    assert refused.returncode == 1
    assert "Train first: patina train" in normalize_output(refused)


def test_train_degrade_and_sr(service: LocalService, lr: Path, hr: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheets" / "tiny.png"
    options = ("--steps", "2", "--name", "tiny", "--seed", "1", "--sheet", str(sheet))
    trained = service.command("train", str(lr), "--hr", str(hr), *options)
    assert trained.returncode == 0, normalize_output(trained)
    assert f"The contact sheet is {sheet}" in trained.stdout
    assert "Training: 2/2 steps" in trained.stdout
    dataset = re.search(r"--dataset (\S+)", trained.stdout)
    assert dataset

    assert "only 4 real photos" in normalize_output(trained)
    report = service.command("report")
    assert report.returncode == 0, normalize_output(report)
    assert "real vs. generated" in report.stdout
    assert "only 4 real photos" in normalize_output(report)
    assert json.loads(service.command("report", "--json").stdout)["kernels"]["major"]["mean"] > 0

    again = service.command("sheet", "--out", str(tmp_path / "again.png"), "--json")
    assert again.returncode == 0, normalize_output(again)
    assert json.loads(again.stdout)["sheet"] == str(tmp_path / "again.png")
    assert sheet.read_bytes() == (tmp_path / "again.png").read_bytes()
    with Image.open(sheet) as drawn:
        assert drawn.height > 2000

    degraded = service.command("degrade", str(hr), "--samples", "2", "--seed", "3", "--out", str(tmp_path / "triplets"))
    assert degraded.returncode == 0, normalize_output(degraded)
    assert f"6 of 6 results are in {tmp_path / 'triplets'}" in normalize_output(degraded)
    lines = [json.loads(line) for line in (tmp_path / "triplets/manifest.jsonl").read_text().splitlines()]
    assert {(line["source"], line["sample"]) for line in lines} == {(f"{i}.png", j) for i in range(3) for j in range(2)}
    assert all((tmp_path / "triplets" / line[kind]).is_file() for line in lines for kind in ("lr", "kernel", "noise"))

    again = service.command(
        "degrade", str(hr), "--samples", "2", "--seed", "3", "--dataset", dataset[1], "-o", str(tmp_path / "again")
    )
    assert again.returncode == 0, normalize_output(again)
    assert read_contents(tmp_path / "triplets") == read_contents(tmp_path / "again")

    shards = service.command("degrade", str(hr), "--samples", "2", "--store", "shards", "-o", str(tmp_path / "shards"))
    assert f"6 of 6 results are in {tmp_path / 'shards'}" in normalize_output(shards)
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["shard-000000.tar"]

    restored = service.command("sr", str(lr / "0.png"), "--priority", "2", "--out", str(tmp_path / "sr"))
    assert restored.returncode == 0, normalize_output(restored)
    assert json.loads(service.command("jobs", "--json").stdout)[0]["priority"] == 2
    (picture,) = (tmp_path / "sr/sr").iterdir()
    assert Image.open(picture).size == (192, 160)

    training = json.loads(service.command("models", "--json").stdout)[0]["job"]
    log = service.command("jobs", training, "--log")
    assert log.returncode == 0, normalize_output(log)
    assert re.search(r"^\S+ info job ended status=succeeded$", log.stdout, re.MULTILINE)
    assert re.search(r"^\S+ metrics step=2 ", log.stdout, re.MULTILINE)
    events = json.loads(service.command("jobs", training, "--log", "--json").stdout)
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    for option, message in (
        ("--finish", "Only a running training can be finished early."),
        ("--continue", "Only a training that was ended early"),
    ):
        refused = service.command("jobs", training, option)
        assert refused.returncode == 1
        assert f"patina: {message}" in normalize_output(refused)

    listed = service.command("jobs")
    assert [line.split()[1:3] for line in listed.stdout.splitlines()[1:6]] == [
        ["sr", "succeeded"],
        ["degrade", "succeeded"],
        ["degrade", "succeeded"],
        ["degrade", "succeeded"],
        ["train", "succeeded"],
    ]


def test_list_show_download_and_delete(service: LocalService, trained: TrainedModel, lr: Path, tmp_path: Path) -> None:
    listed = service.command("models", "--dataset", trained.dataset)
    assert listed.stdout.splitlines()[1].split()[:2] == [trained.model, trained.dataset]
    downloaded = service.command("models", trained.model, "--out", str(tmp_path / "model"))
    assert downloaded.returncode == 0, normalize_output(downloaded)
    assert (tmp_path / "model/degrader.safetensors").read_bytes() == trained.degrader.read_bytes()

    with Client(trained.url) as patina:
        dataset = patina.datasets.create("a name that is long, with [brackets]")
        dataset.upload("lr", lr)
    assert "a name that is long, with [brackets]" in service.command("datasets").stdout
    shown = service.command("datasets", dataset.id)
    assert len(re.findall(r"^lr +48 × 40 +\d.png$", shown.stdout, re.MULTILINE)) == 4
    shared = json.loads(service.command("datasets", dataset.id, "--share", "--json").stdout)
    assert (shared["shared"], len(shared["photos"])) == (True, 4)
    unconfirmed = service.command("datasets", dataset.id, "--delete")  # standard input is no terminal
    assert unconfirmed.returncode == 1
    assert "cannot be undone" in normalize_output(unconfirmed)
    deleted = service.command("datasets", dataset.id, "--delete", "--yes")
    assert deleted.returncode == 0, normalize_output(deleted)
    assert service.command("datasets", dataset.id).returncode == 1


def test_one_bad_photo_fails_alone(service: LocalService, hr: Path, tmp_path: Path) -> None:
    bad = tmp_path / "[red]bad.png"
    bad.write_text("not a picture")
    degraded = service.command("degrade", str(hr), str(bad), "--out", str(tmp_path / "triplets"))
    assert degraded.returncode == 1
    assert "[red]bad.png:" in normalize_output(degraded)
    assert "3 of 4 results" in normalize_output(degraded)


def test_mistakes_are_found_before_anything_is_created(service: LocalService, lr: Path, hr: Path) -> None:
    missing = service.command("train", str(lr), "--hr", "nowhere")
    assert missing.returncode == 1
    assert "There is no file or folder nowhere." in normalize_output(missing)

    before = len(service.command("jobs").stdout.splitlines())
    preset = service.command("train", str(lr), "--hr", str(hr), "--preset", "no-such")
    assert preset.returncode == 1
    assert "preset" in normalize_output(preset)
    too_small = service.command("train", str(lr), "--hr", str(lr))
    assert too_small.returncode == 1
    assert "0.png: The image has 48×40 pixels" in normalize_output(too_small)
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
        ("train --hr nowhere", "--scale", "5"),
        ("train --hr nowhere", "--minutes", "inf"),
        ("train --hr nowhere", "--seed", "-1"),
        ("train --hr nowhere", "--steps", "10000001"),
        ("degrade", "--seed", "-1"),
        ("degrade", "--min-detail", "0"),
        ("degrade", "--min-detail", "256"),
        ("degrade", "--crop", "8193"),
        ("degrade", "--crop-step", "8193"),
        ("degrade", "--priority", "11"),
        ("sr", "--priority", "-11"),
    ],
)
def test_invalid_options_are_refused_before_the_upload(command: str, option: str, value: str) -> None:
    refused = CliRunner().invoke(cli, [*command.split(), "nowhere", option, value])
    assert refused.exit_code == 2, refused.exception  # the missing photo would be found later
    assert f"Invalid value for '{option}'" in refused.output


def test_json_output_is_one_document(service: LocalService, hr: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("not a picture")
    degraded = service.command("degrade", str(hr), str(bad), "--json", "--out", str(tmp_path / "triplets"))
    assert degraded.returncode == 1
    result = json.loads(degraded.stdout)
    assert (result["job"]["kind"], result["job"]["status"], result["ok"]) == ("degrade", "succeeded", 3)
    assert [(line["source"], line["code"]) for line in result["failed"]] == [("bad.png", "not_an_image")]
    assert "Degrading" in degraded.stderr

    listed = json.loads(service.command("jobs", "--json").stdout)
    assert listed[0] == json.loads(service.command("jobs", listed[0]["id"], "--json").stdout)
    refused = service.command("jobs", "no-such", "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "job_not_found"
    lost = service.command("jobs", "--json", "--api", "http://127.0.0.1:9")
    assert lost.returncode == 3
    assert "Nothing answers" in json.loads(lost.stdout)["error"]["message"]


def test_help_of_every_command_has_a_valid_example() -> None:
    command = get_command(cli)
    assert isinstance(command, TyperGroup)
    for name, subcommand in command.commands.items():
        examples = (subcommand.epilog or "").removeprefix("Example: ").split("\n\n")
        assert examples[0], name
        for example in examples:
            words = shlex.split(example.partition("|")[0])
            assert words[:2] == ["patina", name]
            subcommand.make_parser(subcommand.context_class(subcommand)).parse_args(words[2:])  # raises if invalid


def test_shell_completion() -> None:
    request = {"_PATINA_COMPLETE": "complete_bash", "COMP_WORDS": "patina deg", "COMP_CWORD": "1"}
    program = "import sys; sys.argv = ['patina']; from patina.cli import main; main()"
    completed = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | request, capture_output=True, text=True, check=False
    )
    assert completed.stdout.split() == ["degrade"]


@pytest.fixture
def long_training(service: LocalService, lr: Path, hr: Path) -> Iterator[subprocess.Popen[str]]:
    """A `patina train` at a terminal, started by a parent that ignores SIGINT."""
    terminal, stdin = pty.openpty()
    process = subprocess.Popen(
        [*PYTHON, "-m", "patina", "train", str(lr), "--hr", str(hr), "--steps", "100000"],
        env=service.environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509 - this process has no threads
    )
    yield process
    process.kill()
    process.communicate()
    os.close(terminal)
    os.close(stdin)
    # The job would run for hours beside all other tests.
    for job in json.loads(service.command("jobs", "--json").stdout):
        if job["status"] in ("queued", "running"):
            service.command("jobs", job["id"], "--cancel")


def test_ctrl_c_detaches_and_cancel_cancels(service: LocalService, long_training: subprocess.Popen[str]) -> None:
    assert wait_until(lambda: " running " in service.command("jobs").stdout)
    long_training.send_signal(signal.SIGINT)
    _, hint = long_training.communicate(timeout=20)
    assert long_training.returncode == 130
    follow = re.search(r"patina jobs (\S+)", hint)
    assert follow
    assert "running" in service.command("jobs").stdout.splitlines()[1]
    assert service.command("jobs", follow[1], "--cancel").returncode == 0
    followed = service.command("jobs", follow[1])
    assert followed.returncode == 1
    assert "canceled" in normalize_output(followed)


def test_temporary_service_stops_with_its_command(up: LocalService, lr: Path, hr: Path) -> None:
    """Its job resumes with the next command."""
    process = subprocess.Popen(
        [*PYTHON, "-m", "patina", "train", str(lr), "--hr", str(hr), "--steps", "1"],
        env=up.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=enable_sigint,  # noqa: PLW1509 - this process has no threads
    )
    assert wait_until(lambda: "job started" in read_log(up), seconds=60)
    family = list_descendants(process.pid)
    process.send_signal(signal.SIGINT)
    _, hint = process.communicate(timeout=40)
    assert process.returncode == 130
    follow = re.search(r"patina jobs (\S+)", hint)
    assert follow, hint
    assert [pid for pid in family if is_alive(pid)] == []
    assert list(up.temporary.iterdir()) == []

    listed = up.command("jobs")
    assert follow[1] in listed.stdout
    assert "No service runs" in normalize_output(listed)
    followed = up.command("jobs", follow[1])
    assert followed.returncode == 0, normalize_output(followed)
    assert "succeeded" in followed.stdout


def read_log(up: LocalService) -> str:
    log = up.data_dir / "service.log"
    return log.read_text() if log.exists() else ""


def read_contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
