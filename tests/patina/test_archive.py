"""Extraction of a downloaded archive: nothing outside the folder, no half-written files, no silent loss."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from patina.archive import extract
from patina.errors import PatinaError


def create_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def split_chunks(content: bytes, size: int = 700) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def list_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_extract_writes_files_and_returns_the_manifest(tmp_path: Path) -> None:
    picture = bytes(range(256)) * 20
    manifest = [{"source": "a.png", "status": "ok"}, {"source": "b.png", "status": "failed"}]
    lines = "".join(json.dumps(line) + "\n" for line in manifest).encode()
    content = create_tar((tarfile.TarInfo("lr/a.png"), picture), (tarfile.TarInfo("manifest.jsonl"), lines))
    extracted: list[str] = []

    assert extract(split_chunks(content), tmp_path / "out", extracted.append) == manifest

    assert (tmp_path / "out/lr/a.png").read_bytes() == picture
    assert extracted == ["lr/a.png"]
    assert list_files(tmp_path) == {"out/lr/a.png", "out/manifest.jsonl"}


def test_manifest_lines_end_only_at_line_feeds(tmp_path: Path) -> None:
    manifest = [{"source": "a\u2028b\u2029c\x85d\x0ce.png", "status": "ok"}, {"source": "f.png", "status": "ok"}]
    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in manifest).encode()
    assert extract(split_chunks(create_tar((tarfile.TarInfo("manifest.jsonl"), lines))), tmp_path) == manifest


@pytest.mark.parametrize("name", ["../evil", "/evil", "lr/../../evil", "..\\evil"])
def test_names_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PatinaError, match="outside its folder"):
        extract(split_chunks(create_tar((tarfile.TarInfo(name), b"x"))), tmp_path / "out")
    assert list_files(tmp_path) == set()


def test_links_are_skipped(tmp_path: Path) -> None:
    link = tarfile.TarInfo("lr")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    extract(split_chunks(create_tar((link, b""), (tarfile.TarInfo("lr/a"), b"x"))), tmp_path / "out")
    assert (tmp_path / "out/lr").is_dir()
    assert not (tmp_path / "out/lr").is_symlink()


def test_incomplete_archive_is_reported(tmp_path: Path) -> None:
    content = create_tar((tarfile.TarInfo("lr/a.png"), bytes(5000)))
    with pytest.raises(PatinaError, match="incomplete"):
        extract(split_chunks(content[:3000]), tmp_path)
    assert list_files(tmp_path) == set()
