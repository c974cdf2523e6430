"""From a finished job to a folder in one of the forms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from patina.client.archive import write_whole
from patina.client.flow import Ask, Flow, Incoming, Receive
from patina.client.schemas import Report
from patina.errors import PatinaError, ServiceError
from patina.export.dataset_card import card
from patina.export.formats import Form, write_pairs

SIDES = ("train", "validation")


def export(
    job: dict[str, Any],
    folder: Path,
    form: str,
    *,
    validation: float | None,
    shard_size: int,
    tell: Callable[[int], None],
) -> Flow[dict[str | None, int]]:
    """The number of pairs by side of the split; None is the side where there is no split."""
    if form not in list(Form):
        raise PatinaError(f"There is no form {form!r}; there are {', '.join(Form)}.")
    form = Form(form)
    folder.mkdir(parents=True, exist_ok=True)
    query: dict[str, Any] = {"hr": "true"} | ({} if validation is None else {"validation": validation})
    if form in (Form.zip, Form.tar):
        yield _receive(job, query | {"format": form}, folder / f"{job['id']}.{form}")
        return {None: job["counts"]["ok"]}
    if form is Form.webdataset:
        sides: tuple[str | None, ...] = SIDES if validation or job["parameters"].get("validation") else (None,)
        counts: dict[str | None, int] = {}
        for side in sides:
            counts[side] = yield from _shards(job, folder, query, side, shard_size)
            tell(sum(counts.values()))
    else:
        without = {} if form is Form.parquet else {"leave_out": ["kernel", "noise"]}
        ask = Ask("GET", f"/jobs/{job['id']}/archive", {"params": query | without | {"format": Form.webdataset}})
        counts = yield Receive(ask, lambda answer: write_pairs(answer.pieces, folder, form, shard_size, tell))
    model = (yield Ask("GET", f"/models/{job['model']}")).json()
    report = yield from _report(model["id"])
    (folder / "README.md").write_text(card(folder.name, form, counts, job, model["scale"], report))
    return counts


def _shards(job: dict[str, Any], folder: Path, query: dict[str, Any], side: str | None, size: int) -> Flow[int]:
    """`SIDE-000000.tar` and so on; the number of samples in them."""
    name = side or "train"
    shard, shards, total = 0, 1, 0
    while shard < shards:
        parameters = query | {"format": Form.webdataset, "shard_size": size, "shard": shard}
        if side:
            parameters["split"] = side
        target = folder / f"{name}-{shard:06}.tar"
        headers = yield _receive(job, parameters, target)
        if shard == 0:  # the job has shards to give, and those of an earlier export would be read among them
            for before in set(folder.glob(f"{name}-{'[0-9]' * 6}.tar")) - {target}:
                before.unlink()
        shards, total, shard = int(headers["Patina-Shards"]), int(headers["Patina-Samples"]), shard + 1
    return total


def _receive(job: dict[str, Any], parameters: dict[str, Any], target: Path) -> Receive:
    return Receive(Ask("GET", f"/jobs/{job['id']}/archive", {"params": parameters}), partial(_write, target))


def _write(target: Path, answer: Incoming) -> Any:
    write_whole(answer.pieces, target)
    return answer.headers


def _report(model: str) -> Flow[Report | None]:
    try:
        answer = yield Ask("GET", f"/models/{model}/report")
    except ServiceError as error:
        if error.code == "no_report":
            return None
        raise
    return Report.model_validate_json(answer.content)
