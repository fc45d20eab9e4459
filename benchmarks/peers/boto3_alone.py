"""boto3 alone: what a proxy in front of the store can at best be compared with.

`python -m benchmarks.peers.boto3_alone URL CALL THREADS SECONDS FILE KEY` makes one call after the other in each thread, with a
client that is set up as attachd's, and prints a line of JSON. It uploads the file, and downloads the object KEY, which must be
the same bytes. `+sha256` behind the call takes the digest of what is moved.
"""

import hashlib
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.repeating import repeat
from tests.engines.seaweedfs import ACCESS_KEY, BUCKET, REGION, SECRET_KEY

_CHUNK_BYTES = 1 << 16  # faster than 1 MiB here


class Nothing(io.BytesIO):
    """Where downloads go: counted, digested if asked, forgotten."""

    def __init__(self, *, digest: bool) -> None:
        super().__init__()
        self.size = 0
        self._digest = hashlib.sha256() if digest else None

    def write(self, data: Any) -> int:
        """Take the bytes, in whatever order."""
        self.size += len(data)
        if self._digest is not None:
            self._digest.update(data)
        return len(data)


class Alone:
    """The calls, by their names on the command line."""

    def __init__(self, url: str, threads: int, data: bytes, key: str) -> None:
        self._data = data
        self._key = key
        self._client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(
                # upload_fileobj and download_fileobj have up to ten threads each
                max_pool_connections=10 * threads,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"},
            ),
        )

    def put_object(self, key: str, *, digest: bool) -> None:
        """One request, from memory."""
        if digest:
            hashlib.sha256(self._data)
        self._client.put_object(Bucket=BUCKET, Key=key, Body=self._data)

    def upload_fileobj(self, key: str, *, digest: bool) -> None:
        """Several parts at once, from memory."""
        if digest:
            hashlib.sha256(self._data)
        self._client.upload_fileobj(io.BytesIO(self._data), BUCKET, key)

    def get_object(self, _key: str, *, digest: bool) -> None:
        """One request, into nothing."""
        target = Nothing(digest=digest)
        for chunk in self._client.get_object(Bucket=BUCKET, Key=self._key)["Body"].iter_chunks(_CHUNK_BYTES):
            target.write(chunk)
        assert target.size == len(self._data)

    def download_fileobj(self, _key: str, *, digest: bool) -> None:
        """Several ranges at once, into nothing."""
        target = Nothing(digest=digest)
        self._client.download_fileobj(BUCKET, self._key, target)
        assert target.size == len(self._data)


def main(url: str, call: str, threads: int, seconds: int, path: Path, key: str) -> None:
    """Make calls for so long, and tell how many and how long they took."""
    name, _, digest = call.partition("+")
    act: Callable[..., None] = getattr(Alone(url, threads, path.read_bytes(), key), name)

    def call_of(thread: int) -> Callable[[int], object]:
        return lambda number: act(f"boto3-alone/{thread}-{number}", digest=bool(digest))

    used = time.process_time()
    found = repeat([call_of(thread) for thread in range(threads)], seconds)
    busy = (time.process_time() - used) / found.elapsed_s
    print(json.dumps({"requests_per_s": found.requests_per_s, "p99_ms": found.p99_ms, "busy": busy}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]), sys.argv[6])
