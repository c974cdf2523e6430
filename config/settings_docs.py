"""Writes the table of settings in docs/presets-and-settings.md: `python -m config.settings_docs`."""

from __future__ import annotations

from pathlib import Path

from config.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "presets-and-settings.md"
BEGIN, END = "<!-- settings: written by python -m config.settings_docs -->\n", "<!-- end of settings -->"
COMPUTED_DEFAULTS = {
    "data_dir": "`~/.local/share/patina`",
    "torch_threads": "all",
}  # defaults that depend on the computer


def format_table() -> str:
    lines = ["| Variable | Meaning | Default |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = COMPUTED_DEFAULTS.get(name) or ("" if field.default in (None, "") else f"`{field.default}`")
        lines.append(f"| `PATINA_{name.upper()}` | {field.description} | {default} |")
    return "\n".join(lines) + "\n"


def replace_table(page: str) -> str:
    """Returns the page with the current table. Raises ValueError if its place is not marked."""
    if not (page.count(BEGIN) == page.count(END) == 1):
        raise ValueError(f"the page needs one {BEGIN.strip()} and one {END}")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{format_table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(replace_table(PAGE.read_text()))
