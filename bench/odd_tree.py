"""Sends a random tree of files in all formats, with odd names, depths and contents, through `patina sr`.

There must be as many results as images, in the same tree, and every other file must be named.

    python -m bench.odd_tree --files 500 --seed 0
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pillow_heif
from PIL import Image

from tests.support.images import make_picture, make_tar, make_zip
from tests.support.running_service import running_service

pillow_heif.register_heif_opener()
FOLDERS = ("a", "b", "A", "día", "हिन्दी", "cafe\u0301", "2026-11-30 (1)", "x.y", "日本", "con", "deep", "ünï", "sp ace")
STEMS = ("1", "frame 001", "frame_001", "frame.001", "IMG_0001", "हिन्दी", "cafe\u0301", "é", "nul", "a,b", "[x]", "%41")
# (suffix, Pillow's format, modes that it can save)
FORMATS = (
    (".png", "PNG", ("RGB", "L", "P", "RGBA", "LA", "1")),
    (".jpg", "JPEG", ("RGB", "L", "CMYK")),
    (".jfif", "JPEG", ("RGB",)),
    (".HEIC", "JPEG", ("RGB",)),
    (".webp", "WEBP", ("RGB", "RGBA")),
    (".tif", "TIFF", ("RGB", "L", "P", "RGBA", "CMYK")),
    (".bmp", "BMP", ("RGB", "L", "P")),
    (".gif", "GIF", ("RGB", "L", "P")),
    (".avif", "AVIF", ("RGB", "RGBA")),
    (".jp2", "JPEG2000", ("RGB", "L")),
    (".heif", "HEIF", ("RGB", "L", "RGBA")),
    ("", "PNG", ("RGB",)),
)
MANY = ("PNG", "WEBP", "TIFF", "GIF")  # formats of animations or pages; the first image counts
OTHERS: dict[str, Callable[[random.Random], bytes]] = {
    ".txt": lambda rng: f"a note {rng.random()}".encode(),
    ".xmp": lambda _: b"<x:xmpmeta/>",
    ".pdf": lambda _: b"%PDF-1.7\n",
    ".mp4": lambda _: b"\0\0\0 ftypisom" + bytes(100),
    ".jpg": lambda _: b"",
    ".7z": lambda _: b"7z\xbc\xaf\x27\x1c" + bytes(50),
}
ARCHIVES: list[tuple[str, Callable[[dict[str, bytes]], bytes]]] = [
    (".zip", make_zip),
    (".tar", make_tar),
    (".tgz", lambda members: make_tar(members, "w:gz")),
]
DAMAGED = ".png"  # its first bytes are those of an image


def encode(rng: random.Random) -> tuple[str, bytes]:
    """Returns the suffix and the bytes of a small image."""
    suffix, name, modes = rng.choice(FORMATS)
    pixels = make_picture(rng.randint(8, 40), rng.randint(8, 40), rng.randrange(10_000))
    image = Image.fromarray(pixels).convert(rng.choice(modes))
    more = {"save_all": True, "append_images": [image.rotate(180)]} if name in MANY and rng.random() < 0.2 else {}
    buffer = io.BytesIO()
    image.save(buffer, name, **more)
    return suffix, buffer.getvalue()


def pick_path(rng: random.Random, suffix: str) -> PurePosixPath:
    folders = [rng.choice(FOLDERS) for _ in range(rng.randint(0, 5))]
    return PurePosixPath(*folders, f"{rng.choice(STEMS)}{rng.randint(0, 30) or ''}{suffix}")


class Tree:
    """What was written: images, which must give results; damaged ones, which must be named; and all others."""

    def __init__(self, root: Path, count: int, seed: int):
        self.root, self.rng = root, random.Random(seed)
        self.images: list[str] = []
        self.failing: list[str] = []
        self.others: list[str] = []
        last = b""
        while len(self.images) + len(self.failing) + len(self.others) < count:
            kind = self.rng.random()
            if kind < 0.75:
                suffix, data = encode(self.rng)
                if kind < 0.1 and last:  # the same bytes again, as of a still film
                    suffix, data = ".png" if last.startswith(b"\x89PNG") else ".jpg", last
                self.add(self.images, suffix, data)
                last = data
            elif kind < 0.8:
                self.add_archive()
            elif kind < 0.85:
                self.add(self.failing, DAMAGED, b"\x89PNG\r\n\x1a\n" + bytes(60))
            else:
                suffix = self.rng.choice(list(OTHERS))
                self.add(self.others, suffix, OTHERS[suffix](self.rng))
        (root / "linked").symlink_to(root)
        (root / "broken").symlink_to("nowhere")
        self.others += ["linked", "broken"]

    def add(self, kind: list[str], suffix: str, data: bytes) -> None:
        path = pick_path(self.rng, suffix)
        target = self.root / path
        if target.exists() or any(parent.is_file() for parent in target.parents) or target.is_dir():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        kind.append(path.as_posix())

    def add_archive(self) -> None:
        members = {}
        for number in range(3):
            suffix, data = encode(self.rng)
            members[f"{self.rng.choice(FOLDERS)}/{number}{suffix or '.png'}"] = data
        suffix, pack = self.rng.choice(ARCHIVES)
        before = len(self.images)
        self.add(self.images, suffix, pack(members))
        if len(self.images) > before:
            archive = self.images.pop()
            self.images += [f"{archive}/{name}" for name in members]


def fold(path: str) -> str:
    """Returns a path without its suffix, as file systems compare it that know neither case nor normalization."""
    head, _, tail = path.rpartition("/")
    stem = tail.rpartition(".")[0] or tail
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", f"{head}/{stem}".lstrip("/")).casefold())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="odd-") as folder:
        root = Path(folder)
        tree = Tree(root / "photos", arguments.files, arguments.seed)
        with running_service(root / "data") as service:
            dataset = service.create_photo_dataset()
            service.create_model(dataset)
            command = ["sr", str(tree.root), "--dataset", dataset, "--out", str(root / "out"), "--json"]
            environment = os.environ | {"PATINA_API": str(service.http.base_url)}
            started = time.monotonic()
            run = subprocess.run(
                [sys.executable, "-m", "patina", *command], env=environment, capture_output=True, text=True, check=False
            )
        seconds = time.monotonic() - started
        problems = check(tree, root / "out", run.stderr, json.loads(run.stdout))
    print(
        f"{len(tree.images)} images, {len(tree.failing)} damaged, {len(tree.others)} other files; "
        f"{seconds:.0f} s; {len(problems)} problems"
    )
    print("\n".join(problems))
    raise SystemExit(bool(problems))


def check(tree: Tree, out: Path, stderr: str, answer: dict[str, object]) -> list[str]:
    """Returns what is missing, too much, in another folder, or not named."""
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().split("\n") if line]
    results = {line["source"]: line for line in lines if line["status"] == "ok"}
    problems = [f"no result: {source}" for source in tree.images if source not in results]
    problems += [f"not an image: {source}" for source in results.keys() - set(tree.images)]
    written = sorted(file.relative_to(out / "sr").as_posix() for file in (out / "sr").rglob("*") if file.is_file())
    if len(written) != len(results):
        problems.append(f"{len(written)} files for {len(results)} results")
    names = Counter(fold(source) for source in results)
    for source, line in results.items():
        if not (out / line["sr"]).is_file():
            problems.append(f"no file: {line['sr']}")
        elif np.asarray(Image.open(out / line["sr"])).ndim != 3:
            problems.append(f"no picture: {line['sr']}")
        kept = line["sr"] == f"sr/{source.rpartition('.')[0] if '.' in source.rpartition('/')[2] else source}.png"
        if not kept and names[fold(source)] == 1 and not is_reserved(source):
            problems.append(f"renamed without need: {source} -> {line['sr']}")
    named = " ".join(stderr.split())
    for other in tree.others + tree.failing:
        if " ".join(other.split()) not in named:
            problems.append(f"not named: {other}")
    return problems


def is_reserved(source: str) -> bool:
    """Tells whether a part of the path has a name that some system cannot hold, or that a result could have."""
    *folders, file = PurePosixPath(source).parts
    reserved = any(part.split(".")[0].lower() in ("con", "nul") for part in (*folders, file))
    return reserved or any(folder.lower().endswith(".png") for folder in folders)


if __name__ == "__main__":
    main()
