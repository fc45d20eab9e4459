"""Starlette as its documentation shows it: `request.form()`, a copy with SHA-256, `FileResponse`.

`UPLOADS` and `DOWNLOADS` name the folders; `FSYNC=fsync` makes an upload durable before it is answered.
"""

import hashlib
import os
import uuid
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

_UPLOADS = Path(os.environ["UPLOADS"])
_DOWNLOADS = Path(os.environ["DOWNLOADS"])
_FSYNC = os.environ.get("FSYNC") == "fsync"
_CHUNK_BYTES = 1 << 20


def _copy(source: UploadFile, target: Path) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while chunk := source.file.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        if _FSYNC:
            os.fsync(file.fileno())
    return digest.hexdigest()


async def _upload(request: Request) -> JSONResponse:
    async with request.form() as form:
        part = form["file"]
        if not isinstance(part, UploadFile):
            return JSONResponse({"error": "no file"}, status_code=400)
        name = str(uuid.uuid4())
        sha256 = await run_in_threadpool(_copy, part, _UPLOADS / name)
        answer = {"id": name, "filename": part.filename, "content_type": part.content_type, "size": part.size, "sha256": sha256}
    return JSONResponse(answer)


async def _download(request: Request) -> FileResponse:
    return FileResponse(_DOWNLOADS / request.path_params["name"])


app = Starlette(routes=[Route("/api/upload", _upload, methods=["POST"]), Route("/files/{name}", _download)])
