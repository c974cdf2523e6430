"""Feeds a reader files that a fuzzer makes out of those in `fuzz/corpus`: `python -m fuzz.files archive`.

It ends when its seconds are over, or at a file that crashes the reader, hangs it or takes too much memory; that file
is then in `fuzz/found`, and belongs into the corpus when the reader is mended: a test replays all that is there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
LONGEST_FILE = 16_384
LONGEST_SECONDS = 10
MOST_MEBIBYTES = 2048
# What is written in Python is watched for what a file makes it do; what is not is only seen to go on living.
WATCHED = ["app.uploads", "models.checkpoint", "imaging.image_files", "PIL", "tarfile", "zipfile"]


def main() -> None:
    with atheris.instrument_imports(include=WATCHED):
        from fuzz.readers import READERS  # noqa: PLC0415 - to be watched from its import on

    parser = argparse.ArgumentParser(prog="python -m fuzz.files", description=__doc__)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as new:
        options = [
            f"-max_total_time={arguments.seconds}",
            f"-max_len={LONGEST_FILE}",
            f"-timeout={LONGEST_SECONDS}",
            f"-rss_limit_mb={MOST_MEBIBYTES}",
            f"-artifact_prefix={FOUND}/{arguments.reader}-",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, new, str(CORPUS / arguments.reader)], READERS[arguments.reader])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
