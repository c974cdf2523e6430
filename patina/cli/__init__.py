"""The command line: each command is a few calls of the client, with progress shown."""

from patina.cli.main import main as main
