"""The browser page: plain HTML, CSS and ES modules, served as they are."""

from pathlib import Path

FOLDER = Path(__file__).parent
