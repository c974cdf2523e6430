"""The dataset card passes the Hugging Face libraries' own checks."""

from __future__ import annotations

import pytest
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard

from patina.export.dataset_card import render_dataset_card
from patina.export.formats import FORMATS, ExportFormat

JOB = {"id": "job", "model": "model", "parameters": {"samples": 2, "seed": 1}}
FOLDERS = [name for name in FORMATS if not FORMATS[name].is_archive]


@pytest.mark.parametrize("file_format", FOLDERS)
@pytest.mark.parametrize("counts", [{None: 20}, {"train": 9000, "validation": 1000}])
def test_the_hubs_libraries_read_the_card(file_format: ExportFormat, counts: dict[str | None, int]) -> None:
    text = render_dataset_card('my "new" phone: 1', file_format, counts, JOB, 4, None)
    card = DatasetCard(text)
    data = vars(card.data)
    assert data["pretty_name"] == 'my "new" phone: 1'
    assert data["task_categories"] == ["image-to-image"]
    assert data["license"] == "other"
    configs = MetadataConfigs.from_dataset_card_data(card.data)  # raises if a field is not valid
    if FORMATS[file_format].data_files:
        assert [part["split"] for part in configs["default"]["data_files"]] == [name or "train" for name in counts]
    else:
        assert not configs
    assert "4 times smaller" in card.text


@pytest.mark.parametrize(
    ("count", "category"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (9999, "1K<n<10K"), (10_000, "10K<n<100K"), (10**9, "n>1B")],
)
def test_size_categories_are_the_hubs(count: int, category: str) -> None:
    card = DatasetCard(render_dataset_card("photos", ExportFormat.parquet, {None: count}, JOB, 1, None))
    assert vars(card.data)["size_categories"] == [category]
    assert "of the same size" in card.text
