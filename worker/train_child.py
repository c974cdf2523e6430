"""The process that trains: `python -m worker.train_child JOB ATTEMPT PARENT`, started by `worker.train`.

It records its progress, its checkpoints and how it ended itself; its parent holds the lease meanwhile. SIGTERM makes it
save a checkpoint and leave. It goes on from the job's last checkpoint, whoever made that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from config.logging import configure_logging
from config.parent import die_with_parent
from config.settings import Settings, settings
from models.checkpoint import save_degradation, save_edsr
from models.device import choose_device
from store import jobs
from store.datasets import DatasetRepository
from store.image_files import ImageRefusedError, read_rgb
from store.jobs import JobRepository
from store.store import Store
from store.tables import Job
from store.trained import REPORT, CheckpointRepository, ModelRepository
from training.loop import Checkpoint, Progress, Stopped, Trained, train
from training.photos import Photos, PhotosError
from training.presets import Recipe, preset
from training.report import Report
from worker.conclusion import JobFailedError, conclude
from worker.lease import JobCanceledError, WorkerLeavingError
from worker.networks import DEGRADER, SR
from worker.progress import finite

log = structlog.get_logger()


@dataclass(frozen=True)
class Training:
    """One attempt at a training job."""

    store: Store
    settings: Settings
    job: Job
    leaving: threading.Event

    def run(self) -> None:
        """Raises `JobFailedError`, `LeaseLostError` and `WorkerLeavingError`."""
        if self.job.model_id:  # an attempt before this one died between its model and its end
            return
        parameters, device = self.job.parameters, choose_device(self.settings.device)
        recipe = preset(parameters["preset"], parameters["scale"], device=device)
        with self.store.blobs.scratch() as folder:
            photos = self._photos("lr", folder), self._photos("hr", folder)
            try:
                trained = train(
                    recipe,
                    *photos,
                    seed=parameters["seed"],
                    max_steps=parameters["max_steps"],
                    max_minutes=parameters["max_minutes"],
                    device=device,
                    resume=self._last_checkpoint(),
                    on_progress=self._record_progress,
                    on_checkpoint=self._keep_checkpoint,
                    checkpoint_every_seconds=self.settings.checkpoint_every_seconds,
                    should_stop=self.leaving.is_set,
                )
            except Stopped as error:
                raise self._reason_to_stop() from error
            except PhotosError as error:
                raise JobFailedError("photos_unusable", f"{error}") from error
            self._keep_model(trained, self._report(trained), recipe, folder)

    def _photos(self, role: str, folder: Path) -> Photos:
        """Every photo of the dataset is decoded once, into a file that the training maps into memory."""
        with self.store.database.read() as session:
            images = DatasetRepository(session).images(self.job.dataset_id or "", role=role)
        log.info("reading photos", role=role, photos=len(images))

        def pixels() -> Iterator[NDArray[np.uint8]]:
            for image in images:
                try:
                    yield read_rgb(self.store.blobs.path(image.sha256))
                except (ImageRefusedError, FileNotFoundError) as error:
                    log.warning("photo left out", image=image.id, name=image.name, error=str(error))

        return Photos.write(folder / role, pixels())

    def _last_checkpoint(self) -> Path | None:
        with self.store.database.read() as session:
            checkpoint = CheckpointRepository(session).get(self.job.id)
        if checkpoint is None:
            return None
        log.info("going on from a checkpoint", step=checkpoint.step)
        return self.store.blobs.path(checkpoint.sha256)

    def _reason_to_stop(self) -> Exception:
        with self.store.database.read() as session:
            job = JobRepository(session).get(self.job.id)
        canceled = job is not None and job.cancel_requested
        return JobCanceledError(self.job.id) if canceled else WorkerLeavingError(self.job.id)

    def _record_progress(self, progress: Progress) -> None:
        left = progress.seconds * (1 - progress.fraction) / progress.fraction if progress.fraction else None
        record = jobs.Progress(
            done=progress.step,
            total=progress.total_steps,
            per_second=progress.step / progress.seconds if progress.seconds else None,
            eta_seconds=left,
            metrics=finite(progress.metrics),
        )
        with self.store.database.write() as session:
            JobRepository(session).record(self.job.id, self.job.attempt, record)

    def _keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        with self.store.blobs.scratch() as folder:
            file = folder / "checkpoint"
            checkpoint.save(file)
            sha256 = self.store.blobs.put_file(file)
        with self.store.database.write() as session:
            JobRepository(session).require(self.job.id, self.job.attempt)
            checkpoints = CheckpointRepository(session)
            before = checkpoints.get(self.job.id)
            replaced = before.sha256 if before else sha256
            checkpoints.put(self.job.id, step=checkpoint.step, seconds=checkpoint.seconds, sha256=sha256)
        if replaced != sha256:  # tens of megabytes every half minute are not left to the reaper
            self.store.blobs.delete_older([replaced], 0)
        log.info("checkpoint kept", step=checkpoint.step)

    def _report(self, trained: Trained) -> Report | None:
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
            progress = jobs.Progress(trained.steps, trained.steps, trained.steps / trained.seconds, 0, metrics)
            JobRepository(session).record(self.job.id, self.job.attempt, progress)
        return report

    def _keep_model(self, trained: Trained, report: Report | None, recipe: Recipe, folder: Path) -> None:
        degrader, sr = folder / DEGRADER, folder / SR
        save_degradation(trained.degradation, degrader)
        save_edsr(trained.edsr, sr)
        files = {DEGRADER: self.store.blobs.put_file(degrader), SR: self.store.blobs.put_file(sr)}
        if report:
            text = json.dumps(dataclasses.asdict(report), allow_nan=False)
            files[REPORT] = self.store.blobs.put(text.encode())
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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.train_child", description=__doc__)
    parser.add_argument("job")
    parser.add_argument("attempt", type=int)
    parser.add_argument("parent", type=int, help="process id of the worker; when it is gone, so is this one")
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    configure_logging(settings(), "trainer")
    structlog.contextvars.bind_contextvars(job=arguments.job)
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    torch.set_num_threads(settings().torch_threads)

    store = Store.open(settings())
    with store.database.read() as session:
        job = JobRepository(session).get(arguments.job)
    if job is None or job.attempt != arguments.attempt:
        log.info("job is no longer ours")
        return
    conclude(store, job.id, job.attempt, Training(store, settings(), job, leaving).run)


if __name__ == "__main__":
    main()
