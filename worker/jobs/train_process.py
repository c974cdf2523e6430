"""The training process, started by `worker.jobs.train_main`.

It records its progress, checkpoints and outcome; its parent process holds the lease. On SIGTERM it saves a checkpoint
and exits. It resumes from the job's newest intact checkpoint of any attempt.
"""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from config.logging import configure_logging
from config.settings import Settings, settings
from imaging.compression import FileCompression, read_compression
from imaging.photo_measures import crop_bars, find_bars
from imaging.rejections import ImageRejected
from models.checkpoint import save_degradation, save_edsr
from models.degradation import Degradation
from models.device import choose_device
from store.db.tables import Job
from store.errors import BlobCorrupt, BlobMissing
from store.model_files import DEGRADER, REPORT, SR
from store.repositories import jobs
from store.repositories.events import EventRepository, NewEvent
from store.repositories.jobs import JobRepository
from store.repositories.models import CheckpointRepository, ModelRepository, PreviewRepository
from store.store import Store
from training.config import TrainConfig
from training.data.compressions import describe_file
from training.data.photos import PhotoCompression, Photos, PhotosError
from training.distributed import PeerLostError, count_processes, get_rank, process_group, share_object
from training.loop import TrainResult
from training.presets import get_preset
from training.progress import Checkpoint, Progress, Stopped
from training.report.evaluator import Report
from training.report.gallery import Gallery, make_gallery
from training.warm_start import WarmStart, WarmStartError
from worker.jobs.photo_selection import OFF, PhotoSelection, select_photos
from worker.jobs.preview import save_gallery
from worker.jobs.training_inputs import ROLES, TrainingInputs, follow_training
from worker.runtime.job_log import JobLogHandler
from worker.runtime.lease import JobCanceledError, WorkerShutdown
from worker.runtime.outcome import JobFailedError, run_and_record
from worker.runtime.progress import drop_non_finite
from worker.runtime.transient_errors import is_transient

# The first minutes are the most eventful. Later, metrics and previews are recorded ever more rarely:
# at the interval in seconds, or at this fraction of the time so far if that is longer.
METRICS_EVERY_SECONDS, METRICS_FRACTION = 1.0, 1 / 400
PREVIEW_EVERY_SECONDS, PREVIEW_FRACTION = 10.0, 1 / 100
NOTE_EVERY_SECONDS = 10.0  # while photos are read
ALARMS_AFTER = 0.25  # fraction of the training; before that all kernels may be identical without anything being wrong

log = structlog.get_logger()


@dataclass(frozen=True)
class ResumePoint:
    """Where an attempt starts: at the job's newest intact checkpoint, or at step 0."""

    checkpoint: Path | None
    step: int
    seconds: float

    def steps_per_second(self, step: int, seconds: float) -> float | None:
        """Returns the speed of this attempt alone: the earlier attempt may have run on another machine."""
        return (step - self.step) / (seconds - self.seconds) if seconds > self.seconds else None


class Throttle:
    """Limits how often something is done. The first time is not delayed."""

    def __init__(self) -> None:
        self._last = -math.inf

    def ready(self, seconds: float) -> bool:
        """Returns whether this many seconds have passed since `ready` last returned True."""
        now = time.monotonic()
        if now - self._last < seconds:
            return False
        self._last = now
        return True


@dataclass
class TrainingAttempt:
    """One attempt at a training job. `shutdown` stops it; `stop_early` ends it with a model of what it has learned."""

    store: Store
    settings: Settings
    job: Job
    shutdown: threading.Event
    stop_early: threading.Event = field(default_factory=threading.Event)
    metrics_throttle: Throttle = field(default_factory=Throttle)
    preview_throttle: Throttle = field(default_factory=Throttle)
    note_throttle: Throttle = field(default_factory=Throttle)
    photos: tuple[Photos, Photos] | None = None
    selections: dict[str, PhotoSelection] = field(default_factory=dict)  # by role

    def run(self) -> None:
        """Trains and saves the model.

        Raises `JobFailedError`, `LeaseLostError`, `JobCanceledError` or `WorkerShutdown`.
        """
        if self.job.model_id:  # an earlier attempt died after it saved its model
            return
        start = self._find_resume_point()
        parameters, device = self.job.parameters, choose_device(self.settings.device)
        config = get_preset(parameters["preset"], parameters["scale"], device=device)
        with self.store.blobs.scratch() as folder:
            self.selections = self._select_photos()
            lr_role, hr_role = ROLES
            self.photos = self._decode_photos(lr_role, folder), self._decode_photos(hr_role, folder)
            try:
                warm_start = None if start.checkpoint else self._find_warm_start()
                compressions = {role: photos.compressions for role, photos in zip(ROLES, self.photos, strict=True)}
                inputs = TrainingInputs(config, parameters, folder, compressions, start.checkpoint, warm_start)
                trained = share_object(inputs).train(
                    *self.photos,
                    device=device,
                    on_progress=partial(self._on_progress, start),
                    on_checkpoint=self._on_checkpoint,
                    checkpoint_every_seconds=self.settings.checkpoint_every_seconds,
                    should_stop=self.shutdown.is_set,
                    should_finish=self.stop_early.is_set,
                )
            except Stopped as error:
                raise self._stop_reason() from error
            except PhotosError as error:
                raise JobFailedError("photos_unusable", f"{error}") from error
            except WarmStartError as error:
                raise JobFailedError(
                    "warm_start_incompatible",
                    f"The training cannot start from the model {parameters['warm_start']}: {error}. Train with the "
                    "preset of that model, or without `warm_start`.",
                ) from error
            self._save_model(trained, self._report(trained, start), config, folder)

    def run_or_exit(self) -> None:
        """Runs the attempt. If another process of the training died, this one exits; its worker requeues the job."""
        try:
            self.run()
        except PeerLostError as error:
            log.warning("training process lost", error=str(error))
            sys.exit(1)

    def _select_photos(self) -> dict[str, PhotoSelection]:
        mode = self.job.parameters.get("photo_checks", OFF)  # jobs of earlier versions have none
        selections = select_photos(
            self.store, self.job.dataset_id or "", mode, self.shutdown, on_progress=self._note_progress
        )
        if self.shutdown.is_set():
            raise self._stop_reason()
        return selections

    def _decode_photos(self, role: str, folder: Path) -> Photos:
        """Decodes every selected photo once, into a file that the training maps into memory."""
        images, framed = self.selections[role].images, self.selections[role].framed
        compressions = list[PhotoCompression | None]()
        log.info("reading photos", role=role, photos=len(images))

        def pixels() -> Iterator[NDArray[np.uint8]]:
            for image in images:
                self._note_progress()
                try:
                    path = self.store.blobs.verified_path(image.sha256)
                    photo = self.store.decoders.read_rgb(path)
                except (ImageRejected, BlobMissing, BlobCorrupt) as error:
                    log.warning("photo skipped", image=image.id, name=image.name, error=str(error))
                else:
                    # Uploads of earlier versions were stored without it.
                    file = FileCompression.from_json(image.compression) if image.compression else read_compression(path)
                    compression = describe_file(file, *photo.shape[:2]) if file else None
                    if image.id in framed:
                        bars = find_bars(photo)
                        photo = crop_bars(photo, bars)
                        compression = compression.crop(bars[0], bars[2]) if compression else None
                    compressions.append(compression)
                    yield photo

        photos = Photos.write(folder / role, pixels())
        photos.compressions = compressions
        return photos

    def _note_progress(self) -> None:
        """Thousands of photos take longer than PATINA_STALL_SECONDS before the first step."""
        if self.note_throttle.ready(NOTE_EVERY_SECONDS):
            with tolerate_outage("progress"), self.store.database.write() as session:
                JobRepository(session).note_progress(self.job.id, self.job.attempt)

    def _find_resume_point(self) -> ResumePoint:
        with self.store.database.read() as session:
            checkpoints = CheckpointRepository(session).list_for_job(self.job.id)
        for saved in checkpoints:
            try:
                path = self.store.blobs.verified_path(saved.sha256)
            except (BlobMissing, BlobCorrupt) as error:
                log.warning("checkpoint unreadable", step=saved.step, error=str(error))
                self._delete_checkpoint(saved.step)
                continue
            log.info("resuming from checkpoint", step=saved.step)
            return ResumePoint(path, saved.step, saved.seconds)
        if checkpoints:
            log.warning("no usable checkpoint, starting over")
        return ResumePoint(None, 0, 0.0)

    def _find_warm_start(self) -> WarmStart | None:
        """Returns the files of the model that the job names. Raises `JobFailedError` if they are gone."""
        model_id = self.job.parameters.get("warm_start")
        if model_id is None:
            return None
        with self.store.database.read() as session:
            model = ModelRepository(session).get(model_id)
        try:
            files = model.files if model else {}
            return WarmStart(*(self.store.blobs.verified_path(files[name]) for name in (DEGRADER, SR)))
        except (KeyError, BlobMissing, BlobCorrupt) as error:
            raise JobFailedError(
                "warm_start_gone", f"The model {model_id} was deleted, or its files are damaged. Train without it."
            ) from error

    def _delete_checkpoint(self, step: int) -> None:
        """Deletes a damaged checkpoint. Otherwise it would stay the newest when earlier steps are saved again."""
        with self.store.database.write() as session:
            JobRepository(session).check_lease(self.job.id, self.job.attempt)
            CheckpointRepository(session).delete(self.job.id, step)

    def _stop_reason(self) -> Exception:
        with self.store.database.read() as session:
            job = JobRepository(session).get(self.job.id)
        canceled = job is not None and job.cancel_requested
        return JobCanceledError(self.job.id) if canceled else WorkerShutdown(self.job.id)

    def _on_progress(self, start: ResumePoint, progress: Progress) -> None:
        with tolerate_outage("progress"):
            self._record_progress(start, progress)

    def _record_progress(self, start: ResumePoint, progress: Progress) -> None:
        metrics = drop_non_finite(progress.metrics)
        eta = progress.seconds * (1 - progress.fraction) / progress.fraction if progress.fraction else None
        record = jobs.Progress(
            done=progress.step,
            total=progress.total_steps,
            per_second=start.steps_per_second(progress.step, progress.seconds),
            eta_seconds=eta,
            metrics=metrics,
        )
        with self.store.database.write() as session:
            JobRepository(session).record(self.job.id, self.job.attempt, record)
            if self.metrics_throttle.ready(max(METRICS_EVERY_SECONDS, progress.seconds * METRICS_FRACTION)):
                point = NewEvent("metrics", {"step": progress.step, "seconds": progress.seconds, **metrics})
                EventRepository(session).add(self.job.id, [point])
            job = JobRepository(session).get(self.job.id)
        if job is not None and job.finish_requested and not self.stop_early.is_set():
            log.info("early finish requested", step=progress.step)
            self.stop_early.set()
        if self.preview_throttle.ready(max(PREVIEW_EVERY_SECONDS, progress.seconds * PREVIEW_FRACTION)):
            self._save_preview(progress)

    def _save_preview(self, progress: Progress) -> None:
        try:
            gallery = self._gallery(progress.degradation)
            alarms = gallery.alarms if progress.fraction > ALARMS_AFTER else ()
            files = save_gallery(gallery, self.store.blobs, step=progress.step, alarms=alarms)
        except Exception:  # a missing preview must not end a training
            log.exception("preview failed")
            return
        self.store.blobs.sync()
        with self.store.database.write() as session:
            JobRepository(session).check_lease(self.job.id, self.job.attempt)
            PreviewRepository(session).put(self.job.id, step=progress.step, files=files)
            EventRepository(session).add(self.job.id, [NewEvent("preview", {"step": progress.step})])

    def _gallery(self, degradation: Degradation) -> Gallery:
        assert self.photos is not None
        device = choose_device(self.settings.device)
        return make_gallery(degradation, *self.photos, seed=self.job.parameters["seed"], device=device)

    def _on_checkpoint(self, checkpoint: Checkpoint) -> None:
        with tolerate_outage("checkpoint"):
            self._save_checkpoint(checkpoint)

    def _save_checkpoint(self, checkpoint: Checkpoint) -> None:
        with self.store.blobs.scratch() as folder:
            file = folder / "checkpoint"
            checkpoint.save(file)
            sha256 = self.store.blobs.put_file(file)
        self.store.blobs.sync()
        with self.store.database.write() as session:
            JobRepository(session).reset_failures(self.job.id, self.job.attempt)
            unreferenced = CheckpointRepository(session).put(
                self.job.id, step=checkpoint.step, seconds=checkpoint.seconds, sha256=sha256
            )
        # Tens of megabytes every half minute are too much to leave to the garbage collection.
        self.store.blobs.delete_older(unreferenced, 0)
        log.info("checkpoint saved", step=checkpoint.step)

    def _report(self, trained: TrainResult, start: ResumePoint) -> Report | None:
        try:
            report = trained.report()
        except Exception:  # hours of training must not be lost to a failed evaluation
            log.exception("report failed")
            return None
        scores = {"score": report.score, "alarms": float(len(report.alarms))}
        for alarm in report.alarms:
            log.warning(alarm.message, code=alarm.code, severity=alarm.severity)
        metrics = drop_non_finite({**trained.history[-1], **scores} if trained.history else scores)
        with self.store.database.write() as session:
            rate = start.steps_per_second(trained.steps, trained.seconds)
            progress = jobs.Progress(trained.steps, trained.steps, rate, 0, metrics)
            JobRepository(session).record(self.job.id, self.job.attempt, progress)
        return report

    def _save_model(self, trained: TrainResult, report: Report | None, config: TrainConfig, folder: Path) -> None:
        degrader, sr = folder / DEGRADER, folder / SR
        save_degradation(trained.degradation, degrader)
        save_edsr(trained.edsr, sr)
        files = {DEGRADER: self.store.blobs.put_file(degrader), SR: self.store.blobs.put_file(sr)}
        try:
            alarms = report.alarms if report else ()
            files |= save_gallery(
                self._gallery(trained.degradation), self.store.blobs, step=trained.steps, alarms=alarms
            )
        except Exception:  # the model is useful without it
            log.exception("gallery failed")
        if report:
            checks = {role: selection.to_report() for role, selection in self.selections.items()}
            text = json.dumps(dataclasses.asdict(report) | {"photo_checks": checks}, allow_nan=False)
            files[REPORT] = self.store.blobs.put(text.encode())
        self.store.blobs.sync()
        with self.store.database.write() as session:
            model = ModelRepository(session).create(
                dataset_id=self.job.dataset_id or "",
                job_id=self.job.id,
                preset=self.job.parameters["preset"],
                scale=config.scale,
                kernel_origin=trained.degradation.kernel_origin,
                steps=trained.steps,
                seconds=trained.seconds,
                files=files,
                history=trained.history,
            )
            JobRepository(session).set_model(self.job.id, self.job.attempt, model.id)
        log.info("model saved", model=model.id, steps=trained.steps)


@contextmanager
def tolerate_outage(what: str) -> Iterator[None]:
    """Lets the training continue through a transient error. What could not be saved is saved the next time."""
    try:
        yield
    except Exception as error:
        if not is_transient(error):
            raise
        log.warning(f"{what} not saved", error=f"{type(error).__name__}: {error}")


def run_training(job_id: str, attempt: int) -> None:
    """Runs the attempt from start to end; this is the whole life of the process, or of each if there are several."""
    configure_logging(settings(), "trainer", JobLogHandler(settings()))
    structlog.contextvars.bind_contextvars(job=job_id)
    shutdown = threading.Event()  # counts in rank 0 alone, which stops the others
    signal.signal(signal.SIGTERM, lambda *_: shutdown.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    with process_group(choose_device(settings().device)) as device:
        torch.set_num_threads(max(1, settings().torch_threads // count_processes()))
        if get_rank():
            follow_training(device)
        else:
            _lead_training(job_id, attempt, shutdown)


def _lead_training(job_id: str, attempt: int, shutdown: threading.Event) -> None:
    with closing(Store.open(settings())) as store:
        with store.database.read() as session:
            job = JobRepository(session).get(job_id)
        if job is None or job.attempt != attempt:
            log.info("lease lost")
            return
        run_and_record(store, job.id, job.attempt, TrainingAttempt(store, settings(), job, shutdown).run_or_exit)
