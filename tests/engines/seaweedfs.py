"""A real S3-compatible object store: SeaweedFS, all of its parts in one process, in a folder of its own."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.engines.keeping import dies_with_its_parent
from tests.engines.ports import free_ports

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

WEED = Path(sys.executable).parent / "weed"
BUCKET = "attachd"
ACCESS_KEY, SECRET_KEY, REGION = "attachd-test", "a secret of the tests", "us-east-1"
# May read and write the objects of any bucket, and not make one.
READER_KEY, READER_SECRET = "attachd-reader", "another secret of the tests"
START_TIMEOUT_S = 60.0
_ATTEMPTS = 3  # a port that was free may be taken a moment later
_PARTS = ("master", "volume", "filer", "s3")


class SeaweedFS:
    """A server with one bucket, `BUCKET`, on ports of its own; a context manager that kills it and removes its folder.

    Its data and its ports outlive `kill`, so that `start` brings it back as it was.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def master_url(self) -> str:
        """Of the part that can be told to compact what objects were deleted from."""
        return f"http://127.0.0.1:{self._ports['master']}"

    @property
    def pid(self) -> int:
        """Of its only process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it keeps an object; about 4 s."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "identities.json").write_text(json.dumps(_IDENTITIES))
        for _ in range(1 if self._ports else _ATTEMPTS):
            ports = self._ports or _free_ports()
            self._launch(ports)
            self._ports = ports
            if self._is_ready():
                return self
            self.kill()
            self._ports = {}
        raise AssertionError(f"SeaweedFS did not come up:\n{self._log.read_text()[-5000:]}")

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _launch(self, ports: dict[str, int]) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(WEED, "-logtostderr", "server", "-s3", f"-dir={self._folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                    *(f"-{part}.port={ports[part]}" for part in _PARTS),
                    *(f"-{part}.port.grpc={ports[f'{part} grpc']}" for part in _PARTS),
                    *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={self._folder / 'identities.json'}"),
                    *("-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=100"),
                    "-s3.autoCreateBucket=false",
                    *self._options,
                ],
                env={**os.environ, "WEED_S3_SSE_KEY": "for server-side encryption in tests"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=dies_with_its_parent(),  # noqa: PLW1509 (one system call)
            )

    def _is_ready(self) -> bool:
        assert self._process is not None
        s3 = client(self.url)
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with contextlib.suppress(s3.exceptions.BucketAlreadyExists, s3.exceptions.BucketAlreadyOwnedByYou):
                    s3.create_bucket(Bucket=BUCKET)
                s3.put_object(Bucket=BUCKET, Key=".ready", Body=b"yes")
                s3.delete_object(Bucket=BUCKET, Key=".ready")
                return True
            except (BotoCoreError, ClientError):
                time.sleep(0.05)
        return False

    def kill(self) -> None:
        """End it by SIGKILL: asked to stop, it takes ten seconds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for part in _PARTS:  # it makes them in /tmp whatever it is told, and only removes them when it is asked to stop
            Path(f"/tmp/seaweedfs-{part}-grpc-{self._ports[f'{part} grpc']}.sock").unlink(missing_ok=True)  # noqa: S108
            Path(f"/tmp/seaweedfs-{part}-{self._ports[part]}.sock").unlink(missing_ok=True)  # noqa: S108

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def client(url: str) -> "S3Client":
    """A client with all permissions, which tries once."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1}),
    )


def _free_ports() -> dict[str, int]:
    names = [*_PARTS, *(f"{part} grpc" for part in _PARTS)]
    return dict(zip(names, free_ports(len(names)), strict=True))


_IDENTITIES = {
    "identities": [
        {
            "name": "attachd",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": READER_KEY, "secretKey": READER_SECRET}],
            "actions": ["Read", "List"],
        },
    ]
}
