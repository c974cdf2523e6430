"""Unpacking what comes over the network: nothing outside the folder, nothing half, nothing silently missing."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from patina.client.archive import unpack
from patina.errors import PatinaError


def archive_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def in_pieces(content: bytes, size: int = 700) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_unpacks_what_comes_in_pieces_and_reads_the_manifest(tmp_path: Path) -> None:
    picture = bytes(range(256)) * 20
    manifest = [{"source": "a.png", "status": "ok"}, {"source": "b.png", "status": "failed"}]
    lines = "".join(json.dumps(line) + "\n" for line in manifest).encode()
    content = archive_of((tarfile.TarInfo("lr/a.png"), picture), (tarfile.TarInfo("manifest.jsonl"), lines))
    seen: list[str] = []

    assert unpack(in_pieces(content), tmp_path / "out", seen.append) == manifest

    assert (tmp_path / "out/lr/a.png").read_bytes() == picture
    assert seen == ["lr/a.png"]
    assert files_below(tmp_path) == {"out/lr/a.png", "out/manifest.jsonl"}


def test_a_manifest_s_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    manifest = [{"source": "a\u2028b\u2029c\x85d\x0ce.png", "status": "ok"}, {"source": "f.png", "status": "ok"}]
    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in manifest).encode()
    assert unpack(in_pieces(archive_of((tarfile.TarInfo("manifest.jsonl"), lines))), tmp_path) == manifest


@pytest.mark.parametrize("name", ["../evil", "/evil", "lr/../../evil", "..\\evil"])
def test_refuses_names_that_lead_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(PatinaError, match="outside its folder"):
        unpack(in_pieces(archive_of((tarfile.TarInfo(name), b"x"))), tmp_path / "out")
    assert files_below(tmp_path) == set()


def test_passes_over_links(tmp_path: Path) -> None:
    link = tarfile.TarInfo("lr")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    unpack(in_pieces(archive_of((link, b""), (tarfile.TarInfo("lr/a"), b"x"))), tmp_path / "out")
    assert (tmp_path / "out/lr").is_dir()
    assert not (tmp_path / "out/lr").is_symlink()


def test_says_when_the_archive_breaks_off(tmp_path: Path) -> None:
    content = archive_of((tarfile.TarInfo("lr/a.png"), bytes(5000)))
    with pytest.raises(PatinaError, match="broke off"):
        unpack(in_pieces(content[:3000]), tmp_path)
    assert files_below(tmp_path) == set()
