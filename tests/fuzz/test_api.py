"""Some hundred of the requests that `python -m fuzz.api` makes thousands of."""

from __future__ import annotations

from pathlib import Path

from config.settings import Settings
from fuzz.api import exercise, serving, write_records
from store.store import Store


def test_every_answer_is_as_documented(tmp_path: Path, redis_url: str) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, webhooks=True)
    with serving(settings) as url:
        store = Store.open(settings)
        tally = exercise(url, write_records(store), examples=5)
        store.close()
    assert not tally.wrong
    assert tally.answers.total() > 80
    assert tally.answers[200] > 10
