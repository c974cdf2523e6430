"""Every table says who may see its rows. tests/app/test_tokens.py tests that they do."""

from __future__ import annotations

from store.db.access import CRITERIA, UNLIMITED
from store.db.tables import Table


def test_every_table_is_limited_or_exempt() -> None:
    tables = {mapper.class_ for mapper in Table.registry.mappers}
    assert tables == CRITERIA.keys() | UNLIMITED
    assert not CRITERIA.keys() & UNLIMITED
