from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worker.service import Service, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for a module's tests: starting it takes seconds, and what is killed comes back."""
    with running_service(tmp_path_factory.mktemp("service") / "data") as running:
        yield running
