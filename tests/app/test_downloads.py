"""Downloads that resume: HEAD, byte ranges and entity tags, also with curl."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tracemalloc
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import psutil
import pytest

from app.archives.segments import ResultsChangedError, measure, read_all, read_part
from app.archives.zip import BLOCK_BYTES, ZipMember, write_zip
from app.http.ranges import ByteRange
from config.settings import Settings
from fuzz.api import serving, write_records
from store.repositories.datasets import DatasetRepository
from store.store import Store
from tests.support.api import Api, create_archived_job
from tests.support.images import read_tar

STREAMS = "/events"
OF_EACH_REQUEST = {"content-length", "date", "transfer-encoding"}


def test_head_answers_what_get_would(api: Api) -> None:
    """Every GET of the document, also of future endpoints. A stream answers, too, though it has no end."""
    records = write_records(api.store)
    with api.store.database.read() as session:
        records["image_id"] = DatasetRepository(session).list_images(records["dataset_id"])[0].id
    paths = api.http.get("/openapi.json").json()["paths"]
    gets = [path.format(**records) for path, methods in paths.items() if "get" in methods and "head" not in methods]
    assert len(gets) > 20
    for path in [*gets, "/", "/page/main.js", "/docs", "/openapi.json"]:
        head = api.http.head(path)
        assert head.content == b""
        if path.endswith(STREAMS):
            assert head.headers["content-type"].startswith("text/event-stream")
            continue
        get = api.http.get(path)
        assert head.status_code == get.status_code, path
        for name in head.headers.keys() & get.headers.keys() - OF_EACH_REQUEST:
            assert head.headers[name] == get.headers[name] or "metrics" in path, path
    assert api.http.head(f"/jobs/{records['job_id']}/cancel").status_code == 405


@pytest.mark.parametrize("archive_format", ["zip", "tar", "webdataset"])
def test_an_archive_continues_at_any_byte(api: Api, archive_format: str) -> None:
    job, _ = create_archived_job(api)
    url = f"/jobs/{job}/archive?format={archive_format}&hr=true"
    whole = api.http.get(url)
    assert whole.headers["accept-ranges"] == "bytes"
    size = len(whole.content)
    for start in [*range(0, size, 613), size - 1]:
        part = api.http.get(url, headers={"Range": f"bytes={start}-"})
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes {start}-{size - 1}/{size}"
        assert part.content == whole.content[start:]
        assert part.headers["etag"] == whole.headers["etag"]
    middle = api.http.get(url, headers={"Range": "bytes=700-1700"})
    assert (middle.content, middle.headers["content-length"]) == (whole.content[700:1701], "1001")
    assert api.http.get(url, headers={"Range": "bytes=-22"}).content == whole.content[-22:]
    beyond = api.http.get(url, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{size}"
    short = api.http.get(f"/jobs/{job}/archive?format={archive_format}")
    assert int(short.headers["content-length"]) == len(short.content)


def test_other_ranges_get_the_whole_file(api: Api) -> None:
    job, _ = create_archived_job(api)
    url = f"/jobs/{job}/results/0/0/lr"
    for ranges in ("bytes=0-0,2-2", "bytes=2-1", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-" + 20 * "9"):
        assert api.http.get(url, headers={"Range": ranges}).status_code == 200, ranges
    etag = f'"{hashlib.sha256(b"lr0").hexdigest()}"'
    for tag, content in ((etag, b"r0"), ('"another"', b"lr0")):
        part = api.http.get(url, headers={"Range": "bytes=1-", "If-Range": tag})
        assert (part.content, part.headers["etag"]) == (content, etag)
    assert api.http.get(url, headers={"Range": "bytes=1-1"}).content == b"r"


def test_what_the_client_has_is_not_sent_again(api: Api) -> None:
    job, _ = create_archived_job(api)
    model = api.http.get(f"/jobs/{job}").json()["model"]
    for url in (f"/jobs/{job}/archive", f"/jobs/{job}/results/0/0/lr", f"/models/{model}/files/degrader.safetensors"):
        etag = api.http.get(url).headers["etag"]
        for method in ("GET", "HEAD"):
            fresh = api.http.request(method, url, headers={"If-None-Match": f'"other", {etag}'})
            assert (fresh.status_code, fresh.content, fresh.headers["etag"]) == (304, b"", etag)
            assert "content-length" not in fresh.headers
        assert api.http.get(url, headers={"If-None-Match": '"other"'}).status_code == 200
    zip_tag, tar_tag = (api.http.head(f"/jobs/{job}/archive?format={kind}").headers["etag"] for kind in ("zip", "tar"))
    assert zip_tag != tar_tag


def test_a_corrupt_result_has_no_parts(api: Api) -> None:
    job, _ = create_archived_job(api)
    api.store.blobs.path(hashlib.sha256(b"lr0").hexdigest()).write_bytes(b"xyz")
    response = api.http.get(f"/jobs/{job}/results/0/0/lr", headers={"Range": "bytes=1-"})
    assert (response.status_code, response.json()["code"]) == (500, "blob_corrupt")


def test_zip_members_of_any_size_are_read_back(tmp_path: Path) -> None:
    """By Python and by unzip, which checks the sizes and checksums in every record."""
    sizes = (0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES, 200_000)
    files = {f"a/é {size}.bin": hashlib.shake_128(b"%d" % size).digest(size) for size in sizes}

    def members() -> list[ZipMember]:
        return [ZipMember(name, lambda data=data: (len(data), split(data))) for name, data in files.items()]  # type: ignore[misc]

    def split(data: bytes, step: int = 50_000) -> Iterator[bytes]:
        return (data[start : start + step] for start in range(0, len(data), step))

    data = b"".join(read_all(write_zip(members, tmp_path)))
    assert len(data) == measure(write_zip(members, tmp_path))
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == files
    (tmp_path / "a.zip").write_bytes(data)
    checked = subprocess.run(["unzip", "-t", tmp_path / "a.zip"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for start in (0, 31, 100_000, len(data) - 500):
        assert b"".join(read_part(write_zip(members, tmp_path), ByteRange(start, len(data), len(data)))) == data[start:]
    wrong = [ZipMember("a", lambda: (3, iter([b"ab"])))]
    with pytest.raises(ResultsChangedError):
        list(read_all(write_zip(lambda: wrong, tmp_path)))


def test_zips_of_many_files_need_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zip's directory comes last. Until then, size and checksum of each file wait on the disk."""
    monkeypatch.setattr("app.archives.zip.TABLE_IN_MEMORY", 1024)
    files, process = 20_000, psutil.Process()
    open_files = process.num_fds()

    def members() -> Iterator[ZipMember]:
        return (ZipMember(str(number), lambda: (0, iter(())), 0) for number in range(files))

    tracemalloc.start()
    try:
        downloads = [write_zip(members, tmp_path) for _ in range(3)]
        for _ in islice(zip(*downloads, strict=True), 4 * files - 1):  # the clients leave before the end
            pass
        assert tracemalloc.get_traced_memory()[1] < 4 * files  # bytes, for all of them
        assert process.num_fds() == open_files + 3
        del downloads
        assert (process.num_fds(), list(tmp_path.iterdir())) == (open_files, [])
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("archive_format", ["zip", "tar"])
def test_curl_resumes_an_archive(tmp_path: Path, redis_url: str, archive_format: str) -> None:
    settings = Settings(data_dir=tmp_path / "data", redis_url=redis_url)
    with serving(settings) as url:
        store = Store.open(settings)
        job = write_records(store)["job_id"]
        store.close()
        target, archive = tmp_path / "archive", f"{url}/jobs/{job}/archive?format={archive_format}"
        curl = ["curl", "-sS", "--fail", "-o", str(target)]
        subprocess.run([*curl, archive], check=True)
        whole = target.read_bytes()
        target.write_bytes(whole[: len(whole) // 2])
        subprocess.run([*curl, "-C", "-", archive], check=True)
        assert target.read_bytes() == whole
        headers = subprocess.run(["curl", "-sSI", archive], capture_output=True, text=True, check=True).stdout
        assert f"content-length: {len(whole)}" in headers.lower()
    if archive_format == "tar":
        (line,) = read_tar(whole)["manifest.jsonl"].splitlines()
        assert json.loads(line)["name"] == "a"
