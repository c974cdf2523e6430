"""The pages that list what the code has, those of docs/ and the one in the browser: they list all of it."""

from __future__ import annotations

import re
from pathlib import Path

from config.settings_docs import PAGE, with_table
from training.config import PRESET_NAMES

ROOT = Path(__file__).parents[2]


def test_the_table_of_settings_is_that_of_the_settings() -> None:
    assert PAGE.read_text() == with_table(PAGE.read_text()), "run: python -m config.settings_docs"


def test_every_preset_has_a_line() -> None:
    page = PAGE.read_text()
    assert not [name for name in PRESET_NAMES if f"\n| `{name}` |" not in page]


def test_the_page_offers_every_preset() -> None:
    offered = (ROOT / "page/views/dataset.js").read_text().partition("const PRESETS = {")[2].partition("};")[0]
    assert set(re.findall(r'"?([\w-]+)"?: "', offered)) == set(PRESET_NAMES)


def test_every_alarm_has_advice() -> None:
    raised = set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', (ROOT / "training/report/alarms.py").read_text()))
    page = (ROOT / "docs/report.md").read_text()
    assert raised
    assert not [code for code in raised if f"`{code}`" not in page]


def test_the_tutorial_takes_five_commands_that_the_readme_has() -> None:
    commands = re.findall(r"^    (.+)$", (ROOT / "docs/tutorial.md").read_text(), re.MULTILINE)
    readme = (ROOT / "README.md").read_text()
    assert len(commands) == 5
    assert not [command for command in commands if f"    {command}\n" not in readme]


def test_from_a_clone_to_a_contact_sheet_it_takes_five_commands_at_most() -> None:
    begin = (ROOT / "README.md").read_text().partition("    git clone")[2].partition("\n\n")[0].splitlines()
    assert len(begin) <= 5
    assert begin[-1].endswith("--sheet contact-sheet.png")
