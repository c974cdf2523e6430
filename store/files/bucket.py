"""A bucket of S3, Google Cloud Storage or Azure, as far as blobs need it. The only module that imports obstore."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import GenericError, JoinError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store, from_url

from store.errors import StorageUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

PART_BYTES = 8 * 2**20  # of one request: a large object is read and written in parts
CONCURRENT_PARTS = 4
LIST_BATCH = 1000  # objects
RETRY_SECONDS = 20.0  # of outages and throttling, before `StorageUnavailable`
MAX_BACKOFF_SECONDS = 3.0
UNAVAILABLE = (GenericError, JoinError, PermissionDeniedError, UnauthenticatedError)


class Bucket:
    """Objects by key, below the prefix of `url`. Methods raise `StorageUnavailable`.

    Outages and throttling are retried for a while inside. After a failure calls are no longer retried until one
    succeeds, so that an outage does not fill the API with requests that wait.

    Credentials, region and endpoint come from the environment, in the variables that the tools of the provider read,
    such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL.
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
        # The server compares what arrives with a checksum. Only S3 offers that.
        config: S3Config | None = {"checksum_algorithm": "SHA256"} if url.startswith("s3:") else None
        self._failing = False
        try:
            self._patient = from_url(url, config=config, client_options=client, retry_config=retry)
            self._hasty = from_url(url, config=config, client_options=client, retry_config={"max_retries": 0})
        except UNAVAILABLE as error:  # a variable is missing
            raise StorageUnavailable(_first_line(error)) from error

    @contextmanager
    def _store(self, *, retry: bool = True) -> Iterator[ObjectStore]:
        """Yields the store to call, and translates its errors."""
        try:
            yield self._patient if retry and not self._failing else self._hasty
        except UNAVAILABLE as error:
            self._failing = True
            raise StorageUnavailable(_first_line(error)) from error
        except FileNotFoundError:
            self._failing = False
            raise
        else:
            self._failing = False

    def put(self, key: str, data: bytes) -> None:
        with self._store() as store:
            obstore.put(store, key, data, use_multipart=False)

    def put_file(self, key: str, file: Path) -> None:
        """Stores a file, in parts if it is large."""
        with self._store() as store:
            obstore.put(store, key, file, chunk_size=PART_BYTES, max_concurrency=CONCURRENT_PARTS)

    def read(self, key: str) -> bytes:
        """Returns all bytes. Raises `FileNotFoundError`."""
        with self._store() as store:
            return bytes(obstore.get(store, key).bytes())

    def size(self, key: str) -> int:
        """Returns the size in bytes. Raises `FileNotFoundError`."""
        with self._store() as store:
            return obstore.head(store, key)["size"]

    def iter_parts(self, key: str) -> Iterator[bytes]:
        """Yields the bytes, with a request for each part. Raises `FileNotFoundError`."""
        with self._store() as store:
            found = obstore.get(store, key)
            size = found.meta["size"]
            whole = bytes(found.bytes()) if size <= PART_BYTES else b""
        del found  # closes the connection of a large object
        if whole:
            yield whole
            return
        yield from self.iter_range(key, 0, size)

    def iter_range(self, key: str, start: int, size: int) -> Iterator[bytes]:
        """Yields `size` bytes from `start` on, with a request for each part. Raises `FileNotFoundError`."""
        stop = start + size
        for first in range(start, stop, PART_BYTES):
            with self._store() as store:
                part = bytes(obstore.get_range(store, key, start=first, length=min(PART_BYTES, stop - first)))
            yield part

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yields (key, size in bytes) of the objects in a folder of keys, in the store's order."""
        with self._store() as store:
            for batch in obstore.list(store, prefix, chunk_size=LIST_BATCH):
                yield from ((found["path"], found["size"]) for found in batch)

    def copy(self, key: str, target: str) -> None:
        """Raises `FileNotFoundError`."""
        with self._store() as store:
            obstore.copy(store, key, target)

    def delete(self, keys: Sequence[str], *, retry: bool = True) -> None:
        """Deletes those of the objects that exist. Without `retry` an outage raises at once."""
        with self._store(retry=retry) as store:
            try:
                obstore.delete(store, keys)
            except FileNotFoundError:  # S3 does not mind; the others give up at the first that is missing
                for key in keys:
                    with suppress(FileNotFoundError):
                        obstore.delete(store, key)

    def sign(self, key: str, seconds: float) -> str:
        """Returns a URL that serves the object for this time without credentials."""
        with self._store() as store:
            assert isinstance(store, S3Store | GCSStore | AzureStore)  # by the settings' pattern of URLs
            return obstore.sign(store, "GET", key, timedelta(seconds=seconds))


def _first_line(error: Exception) -> str:
    """Returns what an error says, without the debug output that follows."""
    return str(error).partition("\n")[0]
