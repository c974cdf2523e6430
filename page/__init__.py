"""What people see in a browser: plain HTML, CSS and ES modules, served as they lie here."""

from pathlib import Path

FOLDER = Path(__file__).parent
