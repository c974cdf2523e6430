#!/usr/bin/env bash
# Writes before-0012.tar.gz: a data folder as the code of commit 9fb4c54 left it, the last one with schema 0011.
# Run it from the repository's root, in the environment that `make setup` creates.
set -eu
target=$PWD/tests/store/data/before-0012.tar.gz
python=${PYTHON:-$PWD/.venv/bin/python}
code=$(mktemp -d)
git archive 9fb4c54 | tar -x -C "$code"
cd "$code"
PYTHONPATH=$code PATINA_RESULT_DAYS=36500 PATINA_UPLOAD_HOURS=876000 "$python" - "$target" <<'EOF'
import json, os, signal, sys, tarfile, tempfile, threading, time
from dataclasses import replace
from pathlib import Path

import structlog

from config.logging import configure_logging
from models.checkpoint import save_degradation, save_edsr
from models.degradation import Degradation
from models.edsr import EDSR
from store.jobs import JobRepository
from store.store import Store
from store.tokens import TokenRepository
from store.trained import ModelRepository
from tests.pictures import photos
from tests.training.networks import small
from tests.worker.service import running_service
from worker import train_child
from worker.conclusion import conclude
from worker.journal import Journal

TUS = {"Tus-Resumable": "1.0.0"}
tiny = small("default", 2)
kernel, noise = (replace(part, width=8, blocks=1) for part in (tiny.degradation.kernel, tiny.degradation.noise))
tiny = replace(
    tiny,
    degradation=replace(tiny.degradation, kernel=kernel, noise=noise),
    discriminator=replace(tiny.discriminator, width=4),
)
train_child.preset = lambda *_, **__: tiny
folder = Path(tempfile.mkdtemp())
lasting = {name: os.environ[name] for name in ("PATINA_RESULT_DAYS", "PATINA_UPLOAD_HOURS")}
webhooks = {"PATINA_WEBHOOKS": "true", "PATINA_WEBHOOK_RETRY_SECONDS": "1e9"}
with running_service(folder / "data", **lasting, **webhooks) as service:
    http, settings = service.http, service.settings
    store = Store.open(settings)
    dataset = http.post("/datasets", json={"name": "photos", "scale": 2}).json()["id"]
    for role, images in (("lr", photos(3, 40)), ("hr", photos(3, 80, seed=10))):
        parts = [("files", file) for file in images.items()]
        http.post(f"/datasets/{dataset}/images", params={"role": role}, files=parts).raise_for_status()
    untrained = Degradation(tiny.degradation), EDSR(tiny.edsr)
    with store.blobs.scratch() as scratch:
        save_degradation(untrained[0], scratch / "degrader")
        save_edsr(untrained[1], scratch / "sr")
        names = (("degrader.safetensors", "degrader"), ("sr.safetensors", "sr"))
        files = {name: store.blobs.put_file(scratch / file) for name, file in names}
    with store.database.write() as session:
        token = TokenRepository(session).create("alice", "submit")
        model = ModelRepository(session).create(
            dataset_id=dataset, job_id="job-of-the-model", preset="default", scale=2, steps=1, seconds=1.0,
            kernel_origin=untrained[0].kernel_origin, files=files, history=[{"step": 1.0, "score": 0.5}],
        ).id
    hook = http.post("/webhooks", json={"url": "https://example.invalid/hook", "events": ["job.succeeded"]}).json()["id"]
    degrade = service.until_finished(service.degrade(dataset, photos(2, 64, seed=20), samples=2, seed=7))["id"]
    service.until(lambda: http.get(f"/webhooks/{hook}/deliveries").json()["items"][0]["error"])
    begun = TUS | {"Upload-Length": "1000", "Upload-Metadata": "filename YS5wbmc="}
    upload = http.post(f"/datasets/{dataset}/uploads", params={"role": "lr"}, headers=begun).headers["location"]
    part = TUS | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    http.patch(upload, content=b"x" * 400, headers=part).raise_for_status()
    # The service's own train worker stands still, so that this process trains instead, and the entry stays queued.
    os.kill(service.pid("worker", "train"), signal.SIGSTOP)
    request = {"max_steps": 24, "seed": 2}
    key = {"Idempotency-Key": "train once"}
    train = http.post(f"/datasets/{dataset}/train", json=request, headers=key).json()["id"]
    leaving = threading.Event()
    own = settings.model_copy(update={"checkpoint_every_seconds": 0.01, "device": "cpu"})
    configure_logging(own, "train", Journal(own))
    with store.database.write() as session:
        job = JobRepository(session).claim(train, "worker-1", 60)
    training = train_child.Training(store, own, job, leaving)
    keep = training._put_checkpoint
    def keep_and_leave(checkpoint):
        keep(checkpoint)
        if checkpoint.step >= 14:
            leaving.set()
    training._put_checkpoint = keep_and_leave
    with structlog.contextvars.bound_contextvars(job=train):  # so that the log's lines are the job's events
        conclude(store, train, job.attempt, training.run)
    time.sleep(3)  # until the journal is written
    urls = [
        f"/datasets/{dataset}", f"/datasets/{dataset}/images", f"/jobs/{degrade}", f"/jobs/{degrade}/results",
        f"/jobs/{train}", f"/jobs/{train}/history", f"/models/{model}", "/webhooks", f"/webhooks/{hook}/deliveries",
        upload,
    ]
    answers = {url: http.get(url).json() for url in urls}
    ids = {"dataset": dataset, "model": model, "degrade": degrade, "train": train, "upload": upload, "hook": hook}
    ids |= {"token": token.token.id, "secret": token.text, "request": request, "key": "train once"}
    store.close()
(folder / "data" / "expected.json").write_text(json.dumps({"ids": ids, "answers": answers}, indent=1))
(folder / "data" / "service.json").unlink(missing_ok=True)
with tarfile.open(sys.argv[1], "w:gz") as tar:
    tar.add(folder / "data", "data")
EOF
