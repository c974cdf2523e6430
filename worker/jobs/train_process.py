"""The process that trains, begun by `worker.jobs.train_main`.

It records its progress, its checkpoints and how it ended itself; its parent holds the lease meanwhile. SIGTERM makes it
save a checkpoint and leave. It goes on from the job's last checkpoint that is whole, whoever made that.
"""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from config.logging import configure_logging
from config.settings import Settings, settings
from imaging.image_files import ImageRefusedError
from models.checkpoint import save_degradation, save_edsr
from models.degradation import Degradation
from models.device import choose_device
from store.db.tables import Job
from store.files.blobs import BlobDamagedError
from store.repositories import jobs
from store.repositories.datasets import DatasetRepository
from store.repositories.events import EventRepository, NewEvent
from store.repositories.jobs import JobRepository
from store.repositories.models import REPORT, CheckpointRepository, ModelRepository, PreviewRepository
from store.store import Store
from training.config import Recipe, preset
from training.data.photos import Photos, PhotosError
from training.loop import Checkpoint, Progress, Stopped, Trained, train
from training.report.evaluator import Report
from training.report.gallery import Gallery, gallery_of
from worker.jobs.preview import write_gallery
from worker.runtime.job_log import Journal
from worker.runtime.lease import JobCanceledError, WorkerLeavingError
from worker.runtime.model_cache import DEGRADER, SR
from worker.runtime.outcome import JobFailedError, conclude
from worker.runtime.progress import finite
from worker.runtime.transient_errors import is_outage

# A training's first minutes are the most eventful; later its curve is told, and shown, ever more rarely.
METRICS_EVERY_SECONDS, METRICS_A_TIME = 1.0, 400
PREVIEW_EVERY_SECONDS, PREVIEWS_A_TIME = 10.0, 100
NOTHING_LEARNED_BEFORE = 0.25  # of a training

log = structlog.get_logger()


@dataclass(frozen=True)
class Start:
    """Where this attempt begins: at the job's last checkpoint that is whole, if there is one."""

    checkpoint: Path | None
    step: int
    seconds: float

    def rate(self, step: int, seconds: float) -> float | None:
        """Steps a second of this attempt alone: the one before may have run on another machine."""
        return (step - self.step) / (seconds - self.seconds) if seconds > self.seconds else None


class Pace:
    """Something that is to be done every so many seconds, and at once for the first time."""

    def __init__(self) -> None:
        self._last = -math.inf

    def passed(self, seconds: float) -> bool:
        """Whether so many seconds have passed since it was last told so."""
        now = time.monotonic()
        if now - self._last < seconds:
            return False
        self._last = now
        return True


@dataclass
class Training:
    """One attempt at a training job."""

    store: Store
    settings: Settings
    job: Job
    leaving: threading.Event
    finishing: threading.Event = field(default_factory=threading.Event)
    metrics_due: Pace = field(default_factory=Pace)
    preview_due: Pace = field(default_factory=Pace)
    photos: tuple[Photos, Photos] | None = None

    def run(self) -> None:
        """Raises `JobFailedError`, `LeaseLostError` and `WorkerLeavingError`."""
        if self.job.model_id:  # an attempt before this one died between its model and its end
            return
        start = self._start()
        parameters, device = self.job.parameters, choose_device(self.settings.device)
        recipe = preset(parameters["preset"], parameters["scale"], device=device)
        with self.store.blobs.scratch() as folder:
            self.photos = self._photos("lr", folder), self._photos("hr", folder)
            try:
                trained = train(
                    recipe,
                    *self.photos,
                    seed=parameters["seed"],
                    max_steps=parameters["max_steps"],
                    max_minutes=parameters["max_minutes"],
                    device=device,
                    resume=start.checkpoint,
                    on_progress=partial(self._record_progress, start),
                    on_checkpoint=self._keep_checkpoint,
                    checkpoint_every_seconds=self.settings.checkpoint_every_seconds,
                    should_stop=self.leaving.is_set,
                    should_finish=self.finishing.is_set,
                )
            except Stopped as error:
                raise self._reason_to_stop() from error
            except PhotosError as error:
                raise JobFailedError("photos_unusable", f"{error}") from error
            self._keep_model(trained, self._report(trained, start), recipe, folder)

    def _photos(self, role: str, folder: Path) -> Photos:
        """Every photo of the dataset is decoded once, into a file that the training maps into memory."""
        with self.store.database.read() as session:
            images = DatasetRepository(session).images(self.job.dataset_id or "", role=role)
        log.info("reading photos", role=role, photos=len(images))

        def pixels() -> Iterator[NDArray[np.uint8]]:
            for image in images:
                try:
                    yield self.store.decoders.read_rgb(self.store.blobs.verified(image.sha256))
                except (ImageRefusedError, FileNotFoundError, BlobDamagedError) as error:
                    log.warning("photo left out", image=image.id, name=image.name, error=str(error))

        return Photos.write(folder / role, pixels())

    def _start(self) -> Start:
        with self.store.database.read() as session:
            checkpoints = CheckpointRepository(session).of_job(self.job.id)
        for kept in checkpoints:
            try:
                path = self.store.blobs.verified(kept.sha256)
            except (FileNotFoundError, BlobDamagedError) as error:
                log.warning("checkpoint lost", step=kept.step, error=str(error))
                self._forget(kept.step)
                continue
            log.info("going on from a checkpoint", step=kept.step)
            return Start(path, kept.step, kept.seconds)
        if checkpoints:
            log.warning("no checkpoint is left, beginning anew")
        return Start(None, 0, 0.0)

    def _forget(self, step: int) -> None:
        """Or it would count as the newest still when earlier steps are kept again."""
        with self.store.database.write() as session:
            JobRepository(session).require(self.job.id, self.job.attempt)
            CheckpointRepository(session).forget(self.job.id, step)

    def _reason_to_stop(self) -> Exception:
        with self.store.database.read() as session:
            job = JobRepository(session).get(self.job.id)
        canceled = job is not None and job.cancel_requested
        return JobCanceledError(self.job.id) if canceled else WorkerLeavingError(self.job.id)

    def _record_progress(self, start: Start, progress: Progress) -> None:
        with _next_time("progress"):
            self._put_progress(start, progress)

    def _put_progress(self, start: Start, progress: Progress) -> None:
        metrics = finite(progress.metrics)
        left = progress.seconds * (1 - progress.fraction) / progress.fraction if progress.fraction else None
        record = jobs.Progress(
            done=progress.step,
            total=progress.total_steps,
            per_second=start.rate(progress.step, progress.seconds),
            eta_seconds=left,
            metrics=metrics,
        )
        with self.store.database.write() as session:
            JobRepository(session).record(self.job.id, self.job.attempt, record)
            if self.metrics_due.passed(max(METRICS_EVERY_SECONDS, progress.seconds / METRICS_A_TIME)):
                point = NewEvent("metrics", {"step": progress.step, "seconds": progress.seconds, **metrics})
                EventRepository(session).add(self.job.id, [point])
            job = JobRepository(session).get(self.job.id)
        if job is not None and job.finish_requested and not self.finishing.is_set():
            log.info("ending the training, keeping what it has learned", step=progress.step)
            self.finishing.set()
        if self.preview_due.passed(max(PREVIEW_EVERY_SECONDS, progress.seconds / PREVIEWS_A_TIME)):
            self._keep_preview(progress)

    def _keep_preview(self, progress: Progress) -> None:
        try:
            gallery = self._gallery(progress.degradation)
            # Before it has begun to learn, all kernels are the same, and nothing is wrong with that.
            alarms = gallery.alarms if progress.fraction > NOTHING_LEARNED_BEFORE else ()
            files = write_gallery(gallery, self.store.blobs, step=progress.step, alarms=alarms)
        except Exception:  # a training shall not end for want of something to look at
            log.exception("no preview")
            return
        self.store.blobs.settle()
        with self.store.database.write() as session:
            JobRepository(session).require(self.job.id, self.job.attempt)
            PreviewRepository(session).put(self.job.id, step=progress.step, files=files)
            EventRepository(session).add(self.job.id, [NewEvent("preview", {"step": progress.step})])

    def _gallery(self, degradation: Degradation) -> Gallery:
        assert self.photos is not None
        device = choose_device(self.settings.device)
        return gallery_of(degradation, *self.photos, seed=self.job.parameters["seed"], device=device)

    def _keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        with _next_time("checkpoint"):
            self._put_checkpoint(checkpoint)

    def _put_checkpoint(self, checkpoint: Checkpoint) -> None:
        with self.store.blobs.scratch() as folder:
            file = folder / "checkpoint"
            checkpoint.save(file)
            sha256 = self.store.blobs.put_file(file)
        self.store.blobs.settle()
        with self.store.database.write() as session:
            JobRepository(session).gets_on(self.job.id, self.job.attempt)
            unnamed = CheckpointRepository(session).put(
                self.job.id, step=checkpoint.step, seconds=checkpoint.seconds, sha256=sha256
            )
        self.store.blobs.delete_older(unnamed, 0)  # tens of megabytes every half minute are not left to the reaper
        log.info("checkpoint kept", step=checkpoint.step)

    def _report(self, trained: Trained, start: Start) -> Report | None:
        try:
            report = trained.report()
        except Exception:  # hours of training shall not be lost for want of figures about it
            log.exception("no report")
            return None
        figures = {"score": report.score, "alarms": float(len(report.alarms))}
        for alarm in report.alarms:
            log.warning(alarm.message, code=alarm.code, severity=alarm.severity)
        metrics = finite({**trained.history[-1], **figures} if trained.history else figures)
        with self.store.database.write() as session:
            rate = start.rate(trained.steps, trained.seconds)
            progress = jobs.Progress(trained.steps, trained.steps, rate, 0, metrics)
            JobRepository(session).record(self.job.id, self.job.attempt, progress)
        return report

    def _keep_model(self, trained: Trained, report: Report | None, recipe: Recipe, folder: Path) -> None:
        degrader, sr = folder / DEGRADER, folder / SR
        save_degradation(trained.degradation, degrader)
        save_edsr(trained.edsr, sr)
        files = {DEGRADER: self.store.blobs.put_file(degrader), SR: self.store.blobs.put_file(sr)}
        try:
            alarms = report.alarms if report else ()
            files |= write_gallery(
                self._gallery(trained.degradation), self.store.blobs, step=trained.steps, alarms=alarms
            )
        except Exception:  # the model is worth keeping without
            log.exception("no gallery")
        if report:
            text = json.dumps(dataclasses.asdict(report), allow_nan=False)
            files[REPORT] = self.store.blobs.put(text.encode())
        self.store.blobs.settle()
        with self.store.database.write() as session:
            model = ModelRepository(session).create(
                dataset_id=self.job.dataset_id or "",
                job_id=self.job.id,
                preset=self.job.parameters["preset"],
                scale=recipe.scale,
                kernel_origin=trained.degradation.kernel_origin,
                steps=trained.steps,
                seconds=trained.seconds,
                files=files,
                history=trained.history,
            )
            JobRepository(session).set_model(self.job.id, self.job.attempt, model.id)
        log.info("model kept", model=model.id, steps=trained.steps)


@contextmanager
def _next_time(what: str) -> Iterator[None]:
    """An outage costs no hours of training: what could not be kept now is kept, as it is then, the next time."""
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        log.warning(f"{what} not kept", error=f"{type(error).__name__}: {error}")


def run(job_id: str, attempt: int) -> None:
    """All of this process's life. Its job must be the attempt's still."""
    configure_logging(settings(), "trainer", Journal(settings()))
    structlog.contextvars.bind_contextvars(job=job_id)
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    torch.set_num_threads(settings().torch_threads)

    store = Store.open(settings())
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
    if job is None or job.attempt != attempt:
        log.info("job is no longer ours")
        return
    conclude(store, job.id, job.attempt, Training(store, settings(), job, leaving).run)
