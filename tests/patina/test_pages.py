"""Pages that list what the code has, in docs/ and in the browser, are complete."""

from __future__ import annotations

import re
from pathlib import Path

from config.settings_docs import PAGE, with_table
from training.config import PRESET_NAMES

ROOT = Path(__file__).parents[2]


def test_settings_table_is_up_to_date() -> None:
    assert PAGE.read_text() == with_table(PAGE.read_text()), "run: python -m config.settings_docs"


def test_every_preset_is_documented() -> None:
    page = PAGE.read_text()
    assert not [name for name in PRESET_NAMES if f"\n| `{name}` |" not in page]


def test_browser_page_offers_every_preset() -> None:
    offered = (ROOT / "page/views/dataset.js").read_text().partition("const PRESETS = {")[2].partition("};")[0]
    assert set(re.findall(r'"?([\w-]+)"?: "', offered)) == set(PRESET_NAMES)


def test_every_alarm_is_documented() -> None:
    codes = set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', (ROOT / "training/report/alarms.py").read_text()))
    page = (ROOT / "docs/report.md").read_text()
    assert codes
    assert not [code for code in codes if f"`{code}`" not in page]


def test_tutorial_has_five_commands_of_the_readme() -> None:
    commands = re.findall(r"^    (.+)$", (ROOT / "docs/tutorial.md").read_text(), re.MULTILINE)
    readme = (ROOT / "README.md").read_text()
    assert len(commands) == 5
    assert not [command for command in commands if f"    {command}\n" not in readme]


def test_readme_needs_five_commands_from_clone_to_contact_sheet() -> None:
    commands = (ROOT / "README.md").read_text().partition("    git clone")[2].partition("\n\n")[0].splitlines()
    assert len(commands) <= 5
    assert commands[-1].endswith("--sheet contact-sheet.png")
