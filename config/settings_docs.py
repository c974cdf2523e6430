"""The table of settings in docs/presets-and-settings.md: `python -m config.settings_docs` writes it anew."""

from __future__ import annotations

from pathlib import Path

from config.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "presets-and-settings.md"
BEGIN, END = "<!-- settings: written by python -m config.settings_docs -->\n", "<!-- end of settings -->"
ELSEWHERE = {"data_dir": "`~/.local/share/patina`", "torch_threads": "all"}  # defaults that depend on the computer


def table() -> str:
    lines = ["| variable | what | unset |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = ELSEWHERE.get(name) or ("" if field.default in (None, "") else f"`{field.default}`")
        lines.append(f"| `PATINA_{name.upper()}` | {field.description} | {default} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the table as it should be. Raises ValueError where its place is not marked."""
    if not (page.count(BEGIN) == page.count(END) == 1):
        raise ValueError(f"the page needs one {BEGIN.strip()} and one {END}")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
