"""Videos on the command line: frames to learn from, checks, and films super-resolved with their sound."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from config.settings import Settings
from patina import Client
from patina.cli.app import cli
from patina.cli.main import main  # noqa: F401 - registers all commands
from patina.video import film as films
from patina.video.film import FilmSr
from patina.video.sampling import extract_frames
from tests.support.local_service import LocalService, TrainedModel, normalize_output
from tests.support.scenes import make_scene
from tests.support.videos import read_stamps, write_video
from tests.support.wait_until import wait_until

CUT_EVERY, SCENES = 24, 3  # frames
HEIGHT, WIDTH = 40, 44


def make_film(scenes: int = SCENES, side: int = 160) -> list[NDArray[np.uint8]]:
    """Returns frames that move, with a cut every second or so."""
    large = [make_scene(side, side + 4 * CUT_EVERY, seed) for seed in range(scenes)]
    return [np.ascontiguousarray(scene[:, 4 * step : 4 * step + side]) for scene in large for step in range(CUT_EVERY)]


def number_of(path: Path) -> int:
    """Returns the frame's number by the time in its name."""
    return round(float(path.name.split(".", 1)[1].split("s.")[0]) * 25)


def test_frames_are_distinct_and_away_from_cuts(tmp_path: Path) -> None:
    film = make_film()
    film[30:40] = [film[30]] * 10  # a still picture
    video = write_video(tmp_path / "film.mkv", film)
    result = extract_frames(video, tmp_path / "frames", Settings(), count=36)
    numbers = sorted(map(number_of, result.files))
    assert 20 <= len(numbers) <= 40
    at_cuts = {cut + side for cut in range(CUT_EVERY, len(film), CUT_EVERY) for side in (-1, 0)}
    assert not at_cuts & set(numbers)
    assert len(set(range(30, 40)) & set(numbers)) == 1
    assert {number // CUT_EVERY for number in numbers} == {0, 1, 2}
    for path in result.files:
        assert np.abs(np.asarray(Image.open(path)).astype(int) - film[number_of(path)]).max() <= 3


def test_a_long_film_is_searched_in_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patina.video.sampling.SEEK_SECONDS", 0.4)
    video = write_video(tmp_path / "film.mp4", make_film(5), options={"crf": "0", "preset": "ultrafast", "g": "12"})
    result = extract_frames(video, tmp_path / "frames", Settings(), count=6)
    numbers = [number_of(path) for path in result.files]
    assert numbers == sorted(numbers)
    assert [number // 20 for number in numbers] == list(range(6))  # one in each slot


def test_check_names_frames_by_their_video(tmp_path: Path) -> None:
    video = write_video(tmp_path / "film.mkv", make_film(2))
    result = CliRunner().invoke(cli, ["check", str(video), "--scale", "2", "--video-frames", "8", "--json"])
    photos = json.loads(result.stdout)["lr"]["photos"]
    assert len(photos) > 4
    assert all(Path(photo["path"]).parent == video for photo in photos)


def test_a_folder_with_a_video_says_what_to_do(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mkv", make_film(1)[:3])
    result = CliRunner().invoke(cli, ["check", str(tmp_path)])
    assert result.exit_code == 1
    assert "`patina train FILE --hr FOLDER` takes frames" in str(result.exception)


def film_frames() -> list[NDArray[np.uint8]]:
    """Returns 20 frames: 12 that move, and 8 times the last."""
    scene = make_scene(HEIGHT, WIDTH + 24, 3)
    frames = [np.ascontiguousarray(scene[:, 2 * step : 2 * step + WIDTH]) for step in range(12)]
    return frames + [frames[-1]] * 8


def read_sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as opened:
        return [bytes(packet) for packet in opened.demux(audio=0)]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_film_keeps_sound_times_and_shape(
    trained: TrainedModel, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames are as the model enlarges them one by one, equal ones are computed once, and rates may vary."""
    monkeypatch.setattr(films, "PART_PIXELS", 1)
    stamps = np.cumsum([1 + number % 3 for number in range(20)]).tolist()
    video = write_video(
        tmp_path / f"film.{suffix}",
        film_frames(),
        stamps=stamps,
        pixel_aspect=Fraction(4, 3),
        sound=True,
    )
    target = tmp_path / f"large.{suffix}"
    with Client(trained.url) as patina:
        model = patina.models.get(trained.model)
        before = {job.id for job in patina.jobs.list(kind="sr")}
        count = FilmSr(video, target, model, Settings(), crf=0).run(lambda _: None)
        jobs = [job for job in patina.jobs.list(kind="sr") if job.id not in before]
        assert sum(job.counts["ok"] for job in jobs) == 12
        Image.fromarray(film_frames()[5]).save(tmp_path / "five.png")
        model.sr(tmp_path / "five.png").wait().download(tmp_path / "one")
    assert count == 20
    assert read_stamps(target) == pytest.approx(read_stamps(video), abs=1e-3)
    assert read_sound(target) == read_sound(video)
    with av.open(str(target)) as opened:
        stream = opened.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (4 * WIDTH, 4 * HEIGHT, Fraction(4, 3))
        fifth = list(opened.decode(video=0))[5].to_ndarray(format="gray")
    alone = np.asarray(Image.open(tmp_path / "one/sr/five.png").convert("L")).astype(int)
    limited = 16 + alone * 219 / 255
    assert np.abs(fifth - limited).mean() < 1.5 or np.abs(fifth - alone).mean() < 1.5
    assert not target.with_name(target.name + ".parts").exists()


def test_a_killed_film_goes_on(service: LocalService, trained: TrainedModel, tmp_path: Path) -> None:
    video = write_video(tmp_path / "film.mkv", film_frames(), sound=True)
    target, log = tmp_path / "large.mkv", tmp_path / "log"
    parts = tmp_path / "large.mkv.parts"
    script = (
        "import sys; from patina.video import film; film.PART_PIXELS = 1; "
        "from patina.cli import main; sys.argv[0] = 'patina'; main()"
    )
    command = [sys.executable, "-c", script, "sr", str(video), "--model", trained.model, "--out", str(target)]
    with log.open("w") as output:
        process = subprocess.Popen([*command, "--api", trained.url], stdout=output, stderr=output)
        assert wait_until(lambda: (parts / "000000.json").exists() or process.poll() is not None, 60)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, log.read_text()
    with Client(trained.url) as patina:
        before = {job.id for job in patina.jobs.list(kind="sr")}
        again = subprocess.run([*command, "--api", trained.url], capture_output=True, text=True, check=False)
        new = [job for job in patina.jobs.list(kind="sr") if job.id not in before]
    assert again.returncode == 0, again.stderr
    assert sum(job.counts["ok"] for job in new) <= 4  # the first part has 8 of the 12 that differ
    assert "20 frames are in" in again.stdout
    assert read_stamps(target) == pytest.approx(read_stamps(video), abs=1e-3)
    assert read_sound(target) == read_sound(video)


def refuse(trained: TrainedModel, service: LocalService, *arguments: Any) -> str:
    result = service.command("sr", *map(str, arguments), "--model", trained.model)
    assert result.returncode != 0
    return normalize_output(result)


def test_what_cannot_become_a_film_is_refused(service: LocalService, trained: TrainedModel, tmp_path: Path) -> None:
    video = write_video(tmp_path / "film.mkv", film_frames()[:3])
    assert "name one video alone" in refuse(trained, service, video, video)
    assert "a film's name ends in" in refuse(trained, service, video, "--out", tmp_path / "film.gif")
    assert "is the video itself" in refuse(trained, service, video, "--out", video)
    assert "is for photos" in refuse(trained, service, video, "--format", "jpeg")
