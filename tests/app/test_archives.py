"""Malicious archives are rejected at once, with a reason, with little memory and without a trace."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inflate64 import Deflater

from app.http.problems import ProblemError
from app.http.schemas import RejectedFile
from app.ingest.archives import ArchiveRejectedError, ExtractionBudget, detect_archive, extract
from app.ingest.files import MAX_NAME_CHARS, ReceivedFile
from config.settings import Settings
from store.files.quota import StorageQuota
from tests.support.images import make_png, make_tar, make_zip

MEBIBYTE = 2**20
SETTINGS = Settings(max_archive_bytes=8 * MEBIBYTE, max_file_bytes=MEBIBYTE, max_archive_members=100, max_files=1000)
IMAGE = make_png(8, 8)


def extract_all(folder: Path, data: bytes, name: str = "a.zip", settings: Settings = SETTINGS) -> dict[str, str]:
    """Returns, by name, the code of each rejected member and the content of the others. No other file is left."""
    path = folder / "archive"
    path.write_bytes(data)
    file = ReceivedFile(name, path, "")
    opener = detect_archive(file)
    assert opener
    target = folder / "into"
    target.mkdir()
    budget = ExtractionBudget(settings.max_files, settings.max_archive_bytes, StorageQuota([folder], None, 0))
    found: dict[str, str] = {}
    extracted: set[Path] = set()
    for member in extract(file, opener, target, settings, budget):
        if isinstance(member, RejectedFile):
            found[member.name] = member.code
        else:
            found[member.name] = "image" if member.path.read_bytes() == IMAGE else "something else"
            extracted.add(member.path)
    assert set(target.iterdir()) == extracted
    return found


def rejection_code(folder: Path, data: bytes, name: str = "a.zip", settings: Settings = SETTINGS) -> str:
    with pytest.raises(ArchiveRejectedError) as error:
        extract_all(folder, data, name, settings)
    assert not list((folder / "into").iterdir())
    assert len(error.value.message) > 20
    return error.value.code


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **more: str) -> bytes:
    """A tar header with any values."""
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, size
    for field, value in more.items():
        setattr(header, field, value)
    return header.tobuf(tarfile.GNU_FORMAT)


END = bytes(1024)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_every_kind_of_tar_is_read(tmp_path: Path, compress: object) -> None:
    assert callable(compress)
    data = compress(make_tar({"a.png": IMAGE, "b.png": IMAGE, "text.txt": b"hello"}))
    assert extract_all(tmp_path, data, "a.tar") == {
        "a.tar/a.png": "image",
        "a.tar/b.png": "image",
        "a.tar/text.txt": "not_an_image",
    }


def test_an_xz_of_several_streams_is_read_completely(tmp_path: Path) -> None:
    archive = make_tar({f"{n}.png": IMAGE for n in range(9)})
    parts = [lzma.compress(archive[start : start + 3000]) + bytes(4) for start in range(0, len(archive), 3000)]
    assert set(extract_all(tmp_path, b"".join(parts), "a.tar").values()) == {"image"}


def test_an_xz_that_demands_a_gigabyte_is_rejected(tmp_path: Path) -> None:
    # Patched by hand, because such a compression takes ten gigabytes.
    data = bytearray(lzma.compress(make_tar({"a.png": IMAGE}), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 2**20}]))
    start = data.index(b"\x21\x01") + 2
    assert data[start] == 16
    data[start] = 36
    size = (data[12] + 1) * 4
    data[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(data[12 : 12 + size - 4]))
    assert lzma.LZMADecompressor(memlimit=2**31).decompress(bytes(data))
    assert rejection_code(tmp_path, bytes(data), "a.tar.xz") == "corrupt_archive"


def bomb(members: int, size: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(members):
            archive.writestr(f"{number}.png", IMAGE + bytes(size - len(IMAGE)))
    return buffer.getvalue()


def test_a_zip_bomb_is_rejected_before_extraction(tmp_path: Path) -> None:
    assert rejection_code(tmp_path, bomb(9, MEBIBYTE)) == "archive_too_large"


def test_a_tar_bomb_is_rejected_by_its_headers(tmp_path: Path) -> None:
    data = gzip.compress(tar_member("a.png", size=9 * MEBIBYTE) + bytes(9 * MEBIBYTE) + END)
    assert len(data) < 20_000
    assert rejection_code(tmp_path, data, "a.tar.gz") == "archive_too_large"


def test_members_without_image_magic_are_not_extracted(tmp_path: Path) -> None:
    data = make_zip(
        {"zeros.png": bytes(MEBIBYTE), "inner.zip": make_zip({"a.png": IMAGE}), "empty.png": b"", "a.png": IMAGE}
    )
    assert extract_all(tmp_path, data) == {
        "a.zip/zeros.png": "not_an_image",
        "a.zip/inner.zip": "nested_archive",
        "a.zip/empty.png": "empty_file",
        "a.zip/a.png": "image",
    }


def test_a_member_that_is_too_large_is_not_extracted(tmp_path: Path) -> None:
    assert extract_all(tmp_path, bomb(1, MEBIBYTE + 1)) == {"a.zip/0.png": "file_too_large"}


def test_a_zip_with_a_false_member_size_is_rejected(tmp_path: Path) -> None:
    """Both headers say 700 bytes; the deflated stream has a mebibyte."""
    data = bomb(1, MEBIBYTE).replace(struct.pack("<I", MEBIBYTE), struct.pack("<I", 700))
    assert extract_all(tmp_path, data) == {"a.zip/0.png": "corrupt_archive"}


def test_overlapping_members_all_count(tmp_path: Path) -> None:
    """Many directory entries point to one member: small to send, large to extract."""
    data = bomb(1, MEBIBYTE)
    directory, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entries = data[directory:end] * 20
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 20, 20, len(entries), directory, 0)
    assert rejection_code(tmp_path, data[:directory] + entries + tail) == "archive_too_large"


@pytest.mark.parametrize("folders", [False, True])
def test_a_million_entries_use_little_memory(tmp_path: Path, folders: bool) -> None:
    entry = b"PK\1\2" + bytes(24) + struct.pack("<H", 1 + folders) + bytes(16) + (b"a/" if folders else b"a")
    entries = entry * 1_000_000
    data = b"PK\3\4" + entries + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entries), 4, 0)
    tracemalloc.start()
    try:
        assert rejection_code(tmp_path, data) == "too_many_members"
        assert tracemalloc.get_traced_memory()[1] < 2 * MEBIBYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
def test_tar_entries_of_any_kind_count(tmp_path: Path, kind: bytes) -> None:
    assert rejection_code(tmp_path, tar_member("a", kind) * 101 + END, "a.tar") == "too_many_members"


def test_more_files_than_a_request_may_have(tmp_path: Path) -> None:
    with pytest.raises(ProblemError) as error:
        extract_all(
            tmp_path,
            make_zip({f"{n}.png": b"" for n in range(9)}),
            settings=SETTINGS.model_copy(update={"max_files": 8}),
        )
    assert (error.value.status_code, error.value.code) == (413, "too_many_files")


def long_names() -> Iterator[tuple[str, bytes]]:
    huge = 3 * MEBIBYTE
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        yield f"one of 3 MiB {kind!r}", tar_member("x", kind, huge) + b"1" * huge + tar_member("a.png") + END
    chain = tar_member("x", tarfile.GNUTYPE_LONGNAME, 512) + b"n" * 512
    yield "a chain", chain * 3000 + tar_member("a.png") + END
    digits = b"9" * 60_000
    yield "digits", tar_member("x", tarfile.XHDTYPE, len(digits)) + digits.ljust(60_416, b"\0") + END


@pytest.mark.parametrize(("case", "data"), list(long_names()))
def test_huge_tar_headers_use_little_memory_and_time(tmp_path: Path, case: str, data: bytes) -> None:
    tracemalloc.start()
    try:
        assert rejection_code(tmp_path, gzip.compress(data), "a.tar.gz") == "corrupt_archive", case
        assert tracemalloc.get_traced_memory()[1] < 2 * MEBIBYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [-512, -1024, -(2**40)])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b"Z"])
def test_a_tar_with_backward_offsets_is_rejected(tmp_path: Path, kind: bytes, size: int) -> None:
    data = tar_member("first.png") + tar_member("a.png", kind, size) + END
    if kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):  # a header that cannot be read, as damage leaves it
        assert extract_all(tmp_path, data, "a.tar") == {"a.tar/first.png": "empty_file", "a.tar": "corrupt_archive"}
    else:
        assert rejection_code(tmp_path, data, "a.tar") == "corrupt_archive"


def test_members_before_a_corrupt_tar_header_are_taken(tmp_path: Path) -> None:
    archive = bytearray(make_tar({"a.png": IMAGE, "b.png": IMAGE, "c.png": IMAGE}))
    archive[archive.index(b"b.png")] ^= 1
    assert extract_all(tmp_path, bytes(archive), "a.tar") == {"a.tar/a.png": "image", "a.tar": "corrupt_archive"}


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])  # bzip2 has blocks of 900 kB
def test_members_before_a_cut_are_taken(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    noise = make_png(60, 60)  # cannot be compressed, so the cut is in the second member
    data = compress(make_tar({"a.png": IMAGE, "b.png": noise, "c.png": IMAGE}))
    found = extract_all(tmp_path, data[: len(data) * 2 // 5], "a.tar")
    assert found.pop("a.tar/a.png") == "image"
    assert set(found.values()) == {"corrupt_archive"}
    assert "a.tar" in found or "a.tar/b.png" in found


@pytest.mark.parametrize("header", [{"size": "many"}, {"mtime": "x" * 50}, {"path": ""}, {"GNU.sparse.map": "?"}])
def test_odd_pax_headers_concern_one_member(tmp_path: Path, header: dict[str, str]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, pax in (("a.png", {}), ("b.png", header), ("c.png", {})):
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(IMAGE), pax
            archive.addfile(member, io.BytesIO(IMAGE))
    found = extract_all(tmp_path, buffer.getvalue(), "a.tar")
    assert found["a.tar/a.png"] == "image"
    assert "a.tar/c.png" in found or found.get("a.tar") == "corrupt_archive"


@pytest.mark.parametrize("value", [b"\0", b"\1", b"\x7f", b"\xff"])
def test_one_odd_zip_entry_is_rejected_alone(tmp_path: Path, value: bytes) -> None:
    """Every field of the directory's second entry, but its signature and the lengths that say where the third is."""
    for at in (4, 6, 8, 10, 12, 14, 16, 20, 24, 34, 36, 38, 42):
        width = 4 if at in (16, 20, 24, 38, 42) else 2
        data = bytearray(make_zip({"a.png": IMAGE, "b.png": IMAGE, "c.png": IMAGE}))
        entry = data.index(b"PK\1\2", data.index(b"PK\1\2") + 4)
        data[entry + at : entry + at + width] = value * width
        folder = tmp_path / str(at)
        folder.mkdir()
        found = extract_all(folder, bytes(data))
        assert (found["a.zip/a.png"], found["a.zip/c.png"]) == ("image", "image"), at
        assert len(found) == 3, at


@pytest.mark.parametrize(
    "extra",
    [
        b"\1\0\xff\xff",
        b"\1\0\0\0",
        b"\x75\x70\5\0\1\0\0\0\0",
        b"\x75\x70\6\0\1\0\0\0\0\xff",
        b"\x99\x99\x50\0abc",
        b"ab",
    ],
)
def test_damaged_extra_fields_are_skipped(tmp_path: Path, extra: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, field in (("a.png", b""), ("b.png", extra), ("c.png", b"")):
            entry = zipfile.ZipInfo(name)
            entry.extra = field
            archive.writestr(entry, IMAGE)
    assert extract_all(tmp_path, buffer.getvalue()) == {f"a.zip/{name}.png": "image" for name in "abc"}


def test_a_name_that_is_no_utf_8_is_repaired(tmp_path: Path) -> None:
    data = bytearray(make_zip({"a.png": IMAGE, "b.png": IMAGE}))
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 4)
    data[second + 9] |= 8  # UTF-8
    data[second + 46] = 0xE9
    found = extract_all(tmp_path, bytes(data))
    assert found["a.zip/a.png"] == "image"
    assert len(found) == 2


def test_links_devices_and_sparse_files_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(IMAGE)
    secret = str(tmp_path / "secret.png")
    data = b"".join(
        (
            tar_member("soft.png", tarfile.SYMTYPE, linkname=secret),
            tar_member("hard.png", tarfile.LNKTYPE, linkname=secret),
            tar_member("fifo.png", tarfile.FIFOTYPE),
            tar_member("device.png", tarfile.CHRTYPE),
            make_tar({"a.png": IMAGE}),
        )
    )
    assert extract_all(tmp_path, data, "a.tar") == {
        "a.tar/soft.png": "not_a_file",
        "a.tar/hard.png": "not_a_file",
        "a.tar/fifo.png": "not_a_file",
        "a.tar/device.png": "not_a_file",
        "a.tar/a.png": "image",
    }


def test_a_link_in_a_zip_is_rejected(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a.png", IMAGE)
    assert extract_all(tmp_path, buffer.getvalue()) == {"a.zip/link.png": "not_a_file", "a.zip/a.png": "image"}


def test_members_with_equal_names_are_different_files(tmp_path: Path) -> None:
    header = tar_member("a.png", size=len(IMAGE)) + IMAGE.ljust(-(-len(IMAGE) // 512) * 512, b"\0")
    path = tmp_path / "archive"
    path.write_bytes(header * 3 + END)
    file = ReceivedFile("a.tar", path, "")
    opener = detect_archive(file)
    assert opener
    members = list(
        extract(file, opener, tmp_path, SETTINGS, ExtractionBudget(9, MEBIBYTE, StorageQuota([tmp_path], None, 0)))
    )
    assert [member.name for member in members] == ["a.tar/a.png"] * 3
    assert all(isinstance(member, ReceivedFile) and member.path.read_bytes() == IMAGE for member in members)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.png", "café.png"),
        ("日本語　写真.png".encode(), "日本語　写真.png"),
        (b"a\x1b[31m\nb.png", "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b.png"),
        (b"n" * 1100 + b".png", None),
    ],
)
def test_undecodable_names_are_made_printable(tmp_path: Path, name: bytes, shown: str) -> None:
    header = tar_member(name.decode("utf-8", "surrogateescape"), size=len(IMAGE))
    data = header + IMAGE.ljust(-(-len(IMAGE) // 512) * 512, b"\0") + END
    (found,) = extract_all(tmp_path, data, "a.tar")
    found.encode()
    assert len(found) <= MAX_NAME_CHARS
    assert found.endswith(".png")
    if shown:
        assert found == f"a.tar/{shown}"


@pytest.mark.parametrize("name", ["/a.png", "../a.png", "x/../../a.png", "C:\\a.png", "..\\a.png", "\\\\host\\a.png"])
def test_an_unsafe_path_rejects_the_whole_archive(tmp_path: Path, name: str) -> None:
    assert rejection_code(tmp_path, make_zip({"good.png": IMAGE, name: IMAGE})) == "unsafe_path"


def test_encrypted_and_lzma_zips_are_rejected(tmp_path: Path) -> None:
    data = bytearray(make_zip({"a.png": IMAGE}))
    for start, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(start) + flags] |= 1
    assert rejection_code(tmp_path, bytes(data)) == "encrypted_archive"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", IMAGE)
    other = tmp_path / "other"
    other.mkdir()
    assert extract_all(other, buffer.getvalue()) == {"a.zip/a.png": "corrupt_archive"}


def make_deflate64_zip(data: bytes, *, damage: bool = False) -> bytes:
    """Returns a zip with one member in Deflate64, which no library here writes: the headers are built by hand."""
    deflater = Deflater()
    packed = bytes(deflater.deflate(data) + deflater.flush())
    if damage:
        packed = packed[: len(packed) // 2] + b"\xff" * 8 + packed[len(packed) // 2 + 8 :]
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 9, 0, 0, zlib.crc32(data), len(packed), len(data), 5, 0)
    local = b"PK\3\4" + fields + b"a.png" + packed
    entry = b"PK\1\2" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + b"a.png"
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local), 0)
    return local + entry + end


def test_deflate64_is_extracted(tmp_path: Path) -> None:
    assert extract_all(tmp_path, make_deflate64_zip(IMAGE)) == {"a.zip/a.png": "image"}


def test_damaged_deflate64_rejects_the_member(tmp_path: Path) -> None:
    assert extract_all(tmp_path, make_deflate64_zip(IMAGE, damage=True)) == {"a.zip/a.png": "corrupt_archive"}


def test_a_deflate64_bomb_stops_at_its_size(tmp_path: Path) -> None:
    data = bytearray(make_deflate64_zip(IMAGE[:20] + bytes(64 * MEBIBYTE)))
    for at in (22, data.index(b"PK\1\2") + 24):
        struct.pack_into("<I", data, at, 1000)
    tracemalloc.start()
    found = extract_all(tmp_path, bytes(data))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == {"a.zip/a.png": "corrupt_archive"}
    assert peak < 32 * MEBIBYTE


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("写真_001.png", "cp932"), ("Ansichtskarte_Köln.png", "cp437"), ("café.png", "utf-8"), ("12:30.png", "cp437")],
)
def test_names_of_old_zips_are_repaired(tmp_path: Path, name: str, encoding: str) -> None:
    placeholder = "x" * len(name.encode(encoding))
    data = make_zip({placeholder: IMAGE}).replace(placeholder.encode(), name.encode(encoding))
    assert extract_all(tmp_path, data) == {f"a.zip/{name}": "image"}


def test_the_unicode_name_of_a_zip_is_used(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x.png")
    unicode_name = "写.png".encode()
    value = b"\1" + struct.pack("<I", zlib.crc32(b"x.png")) + unicode_name
    info.extra = struct.pack("<HH", 0x7075, len(value)) + value
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, IMAGE)
    assert extract_all(tmp_path, buffer.getvalue()) == {"a.zip/写.png": "image"}


def test_japanese_names_of_old_tars_are_repaired(tmp_path: Path) -> None:
    name = "写真.png"
    placeholder = "x" * len(name.encode("cp932"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="cp932") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(IMAGE)
        archive.addfile(info, io.BytesIO(IMAGE))
    assert len(placeholder) == 8
    assert extract_all(tmp_path, buffer.getvalue(), "a.tar") == {f"a.tar/{name}": "image"}


@pytest.mark.parametrize(("compress", "suffix"), [(gzip.compress, "gz"), (bz2.compress, "bz2"), (lzma.compress, "xz")])
def test_a_single_compressed_image_is_taken(tmp_path: Path, compress: object, suffix: str) -> None:
    assert callable(compress)
    name = f"photo.png.{suffix}"
    assert extract_all(tmp_path, compress(IMAGE), name) == {f"{name}/photo.png": "image"}


def test_one_encrypted_member_is_rejected_alone(tmp_path: Path) -> None:
    data = bytearray(make_zip({"a.png": IMAGE, "b.png": IMAGE}))
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 4)
    data[second + 8] |= 1
    assert extract_all(tmp_path, bytes(data)) == {"a.zip/a.png": "image", "a.zip/b.png": "encrypted_archive"}
