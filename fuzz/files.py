"""Feeds a reader with mutations of the files in `fuzz/corpus`: `python -m fuzz.files archive`.

With `--seeds '*.heic'` it starts from the files of one format alone.

It stops after the given seconds, or at a file that crashes the reader, hangs it or takes too much memory. That file is
written to `fuzz/found`. Move it to the corpus when the reader is repaired: a test replays the corpus.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
MAX_FILE_BYTES = 16_384
MAX_SECONDS = 10
MAX_MEBIBYTES = 2048
# The fuzzer measures the coverage of these Python modules. Of compiled code it only sees crashes.
INSTRUMENTED = ["app.ingest", "app.uploads", "models.checkpoint", "imaging", "PIL", "tarfile", "zipfile"]


def main() -> None:
    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz.readers import READERS  # noqa: PLC0415 - imported here to be instrumented

    parser = argparse.ArgumentParser(prog="python -m fuzz.files", description=__doc__)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seeds", default="*", help="pattern of the corpus files to start from")
    arguments = parser.parse_args()
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as new, tempfile.TemporaryDirectory() as seeds:
        for file in (CORPUS / arguments.reader).glob(arguments.seeds):
            shutil.copy(file, seeds)
        options = [
            f"-max_total_time={arguments.seconds}",
            f"-max_len={MAX_FILE_BYTES}",
            f"-timeout={MAX_SECONDS}",
            f"-rss_limit_mb={MAX_MEBIBYTES}",
            f"-artifact_prefix={FOUND}/{arguments.reader}-",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, new, seeds], READERS[arguments.reader])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
