"""The command line. Each command makes a few calls of the client and shows their progress."""

from patina.cli.main import main as main
