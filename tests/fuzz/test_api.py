"""A few hundred of the requests of `python -m fuzz.api`."""

from __future__ import annotations

from pathlib import Path

from config.settings import Settings
from fuzz.api import fuzz_api, serving, write_records
from store.store import Store


def test_responses_match_the_document(tmp_path: Path, redis_url: str) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, webhooks=True)
    with serving(settings) as url:
        store = Store.open(settings)
        tally = fuzz_api(url, write_records(store), examples=5)
        store.close()
    assert not tally.failures
    assert tally.responses.total() > 80
    assert tally.responses[200] > 10
