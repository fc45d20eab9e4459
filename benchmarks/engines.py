"""PostgreSQL and an S3-compatible store, started for one run on the load generator's core, as the tests start them."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from benchmarks import machine
from tests.engines.postgresql_server import PostgresqlServer
from tests.engines.seaweedfs import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, SeaweedFS, client

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

_DELETED_AT_ONCE = 1000  # the most that DeleteObjects takes
_VACUUM_TIMEOUT_S = 60.0
_FREED_AFTER_S = 1.0  # SeaweedFS lets go of the chunks of deleted objects in the background


@contextlib.contextmanager
def postgresql() -> Iterator[PostgresqlServer]:
    """A server with PostgreSQL's own defaults, fsync included."""
    with _beside_the_load(), PostgresqlServer(shared_buffers="128MB", max_connections="100", max_wal_size="1GB") as server:
        yield server


class ObjectStore:
    """A running SeaweedFS and one bucket in it."""

    def __init__(self, server: SeaweedFS) -> None:
        self.url = server.url
        self._master = server.master_url
        self.client: S3Client = client(server.url)

    @property
    def settings(self) -> str:
        """The lines of `[upload]`; bytes pass through the server."""
        return (
            f'backend = "s3"\ns3_proxy = true\ns3_endpoint_url = "{self.url}"\ns3_bucket = "{BUCKET}"\ns3_region = "{REGION}"\n'
            f's3_access_key = "{ACCESS_KEY}"\ns3_secret_key = {json.dumps(SECRET_KEY)}\n'
        )

    def keys(self) -> list[str]:
        """The keys of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def discard(self) -> None:
        """Remove all objects and have the store give their memory back."""
        keys = self.keys()
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            objects: list[ObjectIdentifierTypeDef] = [{"Key": key} for key in keys[start : start + _DELETED_AT_ONCE]]
            self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": objects})
        time.sleep(_FREED_AFTER_S)
        httpx.get(f"{self._master}/vol/vacuum?garbageThreshold=0.001", timeout=_VACUUM_TIMEOUT_S).raise_for_status()


@contextlib.contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    """A store with its data in `folder`."""
    with _beside_the_load(), SeaweedFS(folder) as server:
        yield ObjectStore(server)


@contextlib.contextmanager
def _beside_the_load() -> Iterator[None]:
    pair = machine.cores()
    with machine.on_core(pair[1] if pair else None):
        yield
