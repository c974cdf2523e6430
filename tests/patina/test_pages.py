"""Pages that list what the code has, in docs/ and in the browser, are complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.report import PAGE as BENCHMARKS
from bench.report import load_newest, render_page, replace_readme_table
from config.settings_docs import PAGE, replace_table
from training.presets import PRESET_NAMES

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
PACKAGES = ("app", "config", "imaging", "patina", "store", "training", "worker")
LOG_METHODS = ("debug", "info", "warning", "error", "exception")


def test_settings_table_is_up_to_date() -> None:
    assert PAGE.read_text() == replace_table(PAGE.read_text()), "run: .venv/bin/python -m config.settings_docs"


def test_every_preset_is_documented() -> None:
    page = PAGE.read_text()
    assert not [name for name in PRESET_NAMES if f"\n| `{name}` |" not in page]


def test_browser_page_offers_every_preset() -> None:
    offered = (ROOT / "page/views/dataset.js").read_text().partition("const PRESETS = {")[2].partition("};")[0]
    assert set(re.findall(r'"?([\w-]+)"?: "', offered)) == set(PRESET_NAMES)


def test_every_alarm_is_documented() -> None:
    source = (ROOT / "training/report/alarms.py").read_text()
    codes = {*re.findall(r'"([a-z]+(?:_[a-z]+)+)"', source), *re.findall(r'Alarm\(\s*"(\w+)"', source)}
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


def test_benchmarks_page_shows_the_newest_results() -> None:
    assert BENCHMARKS.read_text() == render_page(load_newest()), "run: .venv/bin/python -m bench.report"
    readme = (ROOT / "README.md").read_text()
    assert readme == replace_readme_table(readme, load_newest()), "run: .venv/bin/python -m bench.report"


def test_every_log_line_is_documented() -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    events = {
        event for package in PACKAGES for file in (ROOT / package).rglob("*.py") for event in find_log_events(file)
    }
    assert events
    assert not [event for event in sorted(events) if f"`{event}`" not in page]


def test_every_error_code_is_documented() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    files = [file for package in ("app", "imaging", "worker") for file in (ROOT / package).rglob("*.py")]
    codes = {code for file in files for code in find_error_codes(file)}
    assert codes
    assert not [code for code in sorted(codes) if f"`{code}`" not in page]


def find_error_codes(file: Path) -> Iterator[str]:
    """Yields the words with underscores that are arguments of an exception, or of a function with a `code`.

    Such a function is `problem_response`, or is in the file, such as `_unauthorized`. It may be called by `partial`.
    """
    tree = ast.parse(file.read_text())
    builders = {"problem_response", "problem_details", "partial"} | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and any(argument.arg == "code" for argument in node.args.args)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in builders or name.endswith(
                ("Error", "Rejected")
            ):
                for argument in arguments:
                    match argument:
                        case ast.Constant(value=str(text)) if re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", text):
                            yield text


def test_error_codes_are_found_in_all_forms() -> None:
    codes = {code for file in (ROOT / "app").rglob("*.py") for code in find_error_codes(file)}
    assert {"no_token", "invalid_request", "body_too_large", "not_a_file", "no_model"} <= codes


def find_log_events(file: Path) -> Iterator[str]:
    """Yields the constant event of each call of a module's `log`."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log"), attr=method), args=[ast.Constant(value=str(event)), *_]
            ) if method in LOG_METHODS:
                yield event


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text())
    for name, heading in links:
        target = page.parent / name if name else page
        assert target.exists(), name
        assert not heading or heading in list_anchors(target), f"{name}#{heading}"


def list_anchors(page: Path) -> list[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_pages_name_exist(page: Path) -> None:
    if page.parent.name == "experiments" or page.name == "CHANGELOG.md":  # these keep the names of their time
        return
    names = re.findall(r"`((?:[\w-]+/)+[\w.-]*)`", page.read_text())
    folders = (*PACKAGES, "bench", "docs", "models", "page", "tests")
    files = [name for name in names if name.partition("/")[0] in folders]
    assert not [name for name in files if not (ROOT / name).exists()]
