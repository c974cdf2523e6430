"""A bucket of S3, Google Cloud Storage or Azure, as far as blobs need it. The only module that imports obstore."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import StorageUnavailable

try:
    import obstore
    from obstore.exceptions import GenericError, JoinError, PermissionDeniedError, UnauthenticatedError
    from obstore.store import from_url
except ImportError as error:
    raise SystemExit(f"PATINA_BLOBS_URL needs the package obstore: pip install 'patina[s3]' ({error})") from error

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

PART_BYTES = 8 * 2**20  # of one request: a large object is read and written in parts
CONCURRENT_PARTS = 4
LIST_BATCH = 1000  # objects
RETRY_SECONDS = 20.0  # of outages and throttling, before `StorageUnavailable`
MAX_BACKOFF_SECONDS = 3.0
UNAVAILABLE = (GenericError, JoinError, PermissionDeniedError, UnauthenticatedError)


class Bucket:
    """Objects by key, below the prefix of `url`. Methods raise `StorageUnavailable`.

    Outages are retried for a while inside. Credentials, region and endpoint come from the environment, in the
    variables that the tools of the provider read, such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL.
    """

    def __init__(self, url: str):
        self.url = url
        client: ClientConfig = {"allow_http": True, "timeout": "60s", "connect_timeout": "3s"}
        retry: RetryConfig = {
            "max_retries": 100,
            "retry_timeout": timedelta(seconds=RETRY_SECONDS),
            "backoff": {
                "init_backoff": timedelta(seconds=0.1),
                "max_backoff": timedelta(seconds=MAX_BACKOFF_SECONDS),
                "base": 2,
            },
        }
        if url.startswith("s3"):  # the server checks what arrives; the others do not offer it
            config = {"checksum_algorithm": "SHA256"}
            self._store = from_url(url, config=config, client_options=client, retry_config=retry)
            self._hasty = from_url(url, config=config, client_options=client, retry_config={"max_retries": 0})
        else:
            self._store = from_url(url, client_options=client, retry_config=retry)
            self._hasty = from_url(url, client_options=client, retry_config={"max_retries": 0})

    def put(self, key: str, data: bytes) -> None:
        with _translate_errors():
            obstore.put(self._store, key, data, use_multipart=False)

    def put_file(self, key: str, file: Path) -> None:
        """Stores a file, in parts if it is large."""
        with _translate_errors():
            obstore.put(self._store, key, file, chunk_size=PART_BYTES, max_concurrency=CONCURRENT_PARTS)

    def read(self, key: str) -> bytes:
        """Returns all bytes. Raises `FileNotFoundError`."""
        with _translate_errors():
            return bytes(obstore.get(self._store, key).bytes())

    def size(self, key: str) -> int:
        """Returns the size in bytes. Raises `FileNotFoundError`."""
        with _translate_errors():
            return obstore.head(self._store, key)["size"]

    def iter_parts(self, key: str) -> Iterator[bytes]:
        """Yields the bytes, with a request for each part. Raises `FileNotFoundError`."""
        with _translate_errors():
            found = obstore.get(self._store, key)
            size = found.meta["size"]
            whole = bytes(found.bytes()) if size <= PART_BYTES else b""
        del found  # closes the connection of a large object
        if whole:
            yield whole
            return
        for start in range(0, size, PART_BYTES):
            with _translate_errors():
                part = obstore.get_range(self._store, key, start=start, length=min(PART_BYTES, size - start))
            yield bytes(part)

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yields (key, size in bytes) of the objects in a folder of keys, in the store's order."""
        with _translate_errors():
            for batch in obstore.list(self._store, prefix, chunk_size=LIST_BATCH):
                yield from ((found["path"], found["size"]) for found in batch)

    def copy(self, key: str, target: str) -> None:
        """Raises `FileNotFoundError`."""
        with _translate_errors():
            obstore.copy(self._store, key, target)

    def delete(self, keys: Sequence[str], *, retry: bool = True) -> None:
        """Deletes those of the objects that exist. Without `retry` an outage raises at once."""
        with _translate_errors():
            obstore.delete(self._store if retry else self._hasty, keys)

    def sign(self, key: str, seconds: float) -> str:
        """Returns a URL that serves the object for this time without credentials."""
        with _translate_errors():
            return obstore.sign(self._store, "GET", key, timedelta(seconds=seconds))


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except UNAVAILABLE as error:
        message, _, _ = str(error).partition("\n")
        raise StorageUnavailable(message) from error
