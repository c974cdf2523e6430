"""The service below a path, behind Caddy, and called by browser apps of another origin."""

from __future__ import annotations

import base64
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tusclient.client import TusClient

from config.settings import Settings
from fuzz.api import serving, write_records
from patina import Client
from scripts.test_tools import MISSING, NODE, find_node_modules
from store.store import Store
from tests.support.api import serve_api
from tests.support.images import make_png
from tests.support.proxy import running_caddy

ROOT = "/patina"
APP = "https://app.example.com"
# Caddy removes the prefix from requests with the first, and passes it on with the second.
DIRECTIVES = {"prefix removed": "handle_path", "prefix kept": "handle"}


@contextmanager
def running_caddy_below_root(folder: Path, directive: str, upstream: str) -> Iterator[str]:
    """Runs Caddy, which serves `upstream` below the path ROOT. Yields the service's URL."""
    host = upstream.removeprefix("http://")
    site = f" redir {ROOT} {ROOT}/\n {directive} {ROOT}/* {{\n reverse_proxy {host}\n }}"
    with running_caddy(folder, site) as url:
        yield f"{url}{ROOT}"


@pytest.mark.parametrize("directive", DIRECTIVES.values(), ids=DIRECTIVES)
def test_the_service_works_below_a_path(tmp_path: Path, redis_url: str, directive: str) -> None:
    settings = Settings(data_dir=tmp_path / "data", redis_url=redis_url, root_path=f"{ROOT}/")
    with serving(settings) as upstream, running_caddy_below_root(tmp_path, directive, upstream) as url:
        store = Store.open(settings)
        records = write_records(store)
        store.close()
        host = url.removesuffix(ROOT)
        with httpx.Client() as http:
            assert http.get(url).headers.get("location") == f"{ROOT}/"
            page = http.get(f"{url}/")
            assert 'src="page/main.js"' in page.text
            assert http.get(f"{url}/page/main.js").status_code == http.get(f"{url}/docs").status_code == 200
            assert http.get(f"{url}/openapi.json").json()["servers"] == [{"url": ROOT}]
            job = http.get(f"{url}/jobs/{records['job_id']}").json()
            for link in job["links"].values():
                assert link.startswith(f"{ROOT}/")
            assert http.get(f"{host}{job['links']['archive']}").status_code == 200
            result = http.get(f"{host}{job['links']['results']}").json()["items"][0]
            assert http.get(f"{host}{result['links']['lr']}").status_code == 200
            created = http.post(
                f"{url}/datasets/{records['dataset_id']}/degrade",
                files=[("files", ("a.png", make_png(40, 40)))],
                headers={"X-Forwarded-Prefix": "/elsewhere"},
            )
            assert created.headers["location"] == f"{ROOT}/jobs/{created.json()['id']}"
            spoofed = http.post(f"{url}/page/session", json={"token": "x"})
            assert f"Path={ROOT}/" in spoofed.headers["set-cookie"]
        with Client(url) as patina:
            (first,) = patina.jobs.get(records["job_id"]).results()
            assert patina.jobs.get(records["job_id"]).fetch(first, "lr", tmp_path / "lr.png").stat().st_size
            (tmp_path / "b.png").write_bytes(make_png(60, 60))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("patina.client.photo_files.MAX_BATCH_BYTES", 1)  # sent by a resumable upload
                upload = patina.datasets.get(records["dataset_id"]).upload("lr", tmp_path / "b.png")
            assert [file.name for file in upload.accepted] == ["b.png"]
        (tmp_path / "c.png").write_bytes(make_png(64, 64, 3))
        tus = TusClient(f"{url}/datasets/{records['dataset_id']}/uploads?role=lr")
        tus.uploader(str(tmp_path / "c.png"), chunk_size=1000, metadata={"filename": "c.png"}).upload()
        with httpx.Client() as http:
            names = [
                image["name"] for image in http.get(f"{url}/datasets/{records['dataset_id']}/images").json()["items"]
            ]
        assert {"b.png", "c.png"} <= set(names)


@pytest.fixture
def service_below_root(tmp_path: Path, redis_url: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the URL of a service below ROOT, and the ids of its records."""
    settings = Settings(data_dir=tmp_path / "data", redis_url=redis_url, root_path=ROOT)
    with serving(settings) as upstream, running_caddy_below_root(tmp_path, "handle_path", upstream) as url:
        store = Store.open(settings)
        records = write_records(store)
        store.close()
        yield url, records


def test_curl_resumes_a_download_below_a_path(service_below_root: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing")
    url, records = service_below_root
    archive = f"{url}/jobs/{records['job_id']}/archive?format=zip"
    whole = httpx.get(archive).content
    file = tmp_path / "archive.zip"
    file.write_bytes(whole[: len(whole) // 3])
    resume = ["curl", "--silent", "--show-error", "--fail", "--continue-at", "-", "--dump-header", "-", "-o", str(file)]
    done = subprocess.run([*resume, archive], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert " 206 " in done.stdout
    assert file.read_bytes() == whole
    assert zipfile.ZipFile(file).testzip() is None


def test_tus_js_client_resumes_an_upload_below_a_path(
    service_below_root: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    modules = find_node_modules()
    if modules is None:
        pytest.skip(MISSING.format("tus-js-client"))
    url, records = service_below_root
    script = tmp_path / "tus_upload.mjs"  # finds its packages beside it
    script.write_bytes((NODE / script.name).read_bytes())
    (tmp_path / modules.name).symlink_to(modules)
    photo = tmp_path / "by tus.png"
    photo.write_bytes(make_png(64, 64, 3))
    endpoint = f"{url}/datasets/{records['dataset_id']}/uploads?role=lr"
    command = ["node", str(script), endpoint, str(photo), "3000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{url}/")
    images = httpx.get(f"{url}/datasets/{records['dataset_id']}/images").json()["items"]
    assert photo.name in {image["name"] for image in images}


def test_without_the_setting_no_header_sets_a_prefix(tmp_path: Path, redis_url: str) -> None:
    with serve_api(Settings(data_dir=tmp_path, redis_url=redis_url)) as api:
        api.create_model(dataset := api.create_dataset())
        job = api.degrade(dataset, {"a_png": make_png(40, 40)})
        headers = {"X-Forwarded-Prefix": "/elsewhere", "X-Script-Name": "/elsewhere"}
        assert api.http.get(f"/jobs/{job}", headers=headers).json()["links"]["self"] == f"/jobs/{job}"


def test_browser_apps_of_allowed_origins_may_call(tmp_path: Path, redis_url: str) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, cors_origins=f"{APP}, http://localhost:3000")
    with serve_api(settings) as api:
        dataset = api.create_dataset()
        preflight = {
            "Origin": APP,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "tus-resumable,upload-offset,authorization,content-type",
        }
        allowed = api.http.options(f"/datasets/{dataset}/uploads", headers=preflight)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == APP
        assert "tus-resumable" in allowed.headers["access-control-allow-headers"].lower()
        name = base64.b64encode(b"a.png").decode()
        tus = {"Origin": APP, "Tus-Resumable": "1.0.0", "Upload-Length": "10", "Upload-Metadata": f"filename {name}"}
        created = api.http.post(f"/datasets/{dataset}/uploads?role=lr", headers=tus)
        assert created.status_code == 201
        exposed = created.headers["access-control-expose-headers"].lower()
        assert {"location", "upload-offset", "tus-resumable", "content-range", "etag"} <= set(exposed.split(", "))
        assert "access-control-allow-credentials" not in created.headers
        stranger = api.http.post(
            "/datasets", json={"name": "x", "scale": 4}, headers={"Origin": "https://evil.example"}
        )
        assert (stranger.status_code, stranger.json()["code"]) == (403, "cross_origin")
        assert "access-control-allow-origin" not in stranger.headers
        refused = api.http.options("/jobs", headers=preflight | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("origins", ["*", "app.example.com", "https://app.example.com/path"])
def test_an_origin_is_a_scheme_and_a_host(origins: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        Settings(cors_origins=origins)
