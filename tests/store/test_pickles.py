"""No process unpickles data from outside: no file and no queue entry."""

from __future__ import annotations

import ast
import json
import pickle
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rq.exceptions import DeserializationError
from rq.job import Job as QueueEntry
from rq.serializers import JSONSerializer

import store
from store.queue import JobQueue

PACKAGES = ("app", "worker", "store", "imaging", "training", "models", "config", "patina")
UNPICKLING = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}


def find_entry(queue: JobQueue) -> str:
    """The key of the only entry of job-1."""
    (key,) = queue.redis.scan_iter("rq:job:job-1_*")
    return str(key.decode())


def test_queue_entry_is_json_with_the_job_id(redis_url: str) -> None:
    queue = JobQueue(redis_url)
    queue.enqueue("job-1", "degrade")
    entry = queue.redis.hgetall(find_entry(queue))
    assert isinstance(entry, dict)
    payload: Any = entry[b"data"]
    with suppress(zlib.error):
        payload = zlib.decompress(payload)
    assert json.loads(payload) == ["patina.execute_job", None, ["job-1"], {}]


def test_pickle_in_the_queue_is_not_loaded(redis_url: str, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "loaded",)

    queue = JobQueue(redis_url)
    queue.enqueue("job-1", "degrade")
    bad = pickle.dumps(("patina.execute_job", None, (Payload(),), {}))
    key = find_entry(queue)
    queue.redis.hset(key, "data", zlib.compress(bad))
    entry = QueueEntry.fetch(key.removeprefix("rq:job:"), connection=queue.redis, serializer=JSONSerializer)
    with pytest.raises(DeserializationError):
        entry.args  # noqa: B018
    assert not (tmp_path / "loaded").exists()
    pickle.loads(bad)
    assert (tmp_path / "loaded").exists()


def test_no_package_unpickles() -> None:
    """One function reads torch files of public networks that a user names, and loads weights only."""
    root = Path(store.__file__).parents[1]
    found = set()
    for path in (path for package in PACKAGES for path in (root / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                weights_only = any(ast.unparse(word) == "weights_only=True" for word in node.keywords)
                names = ["torch.load" if weights_only else "torch.load of anything"]
            found |= {(path.name, name) for name in names if name.split(".")[0] in UNPICKLING or "torch.load" in name}
    assert found <= {("checkpoint.py", "pickle"), ("checkpoint.py", "torch.load")}  # imports pickle for its error class
