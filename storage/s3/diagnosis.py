"""How it is with the bucket: each permission is tried, on an object of a few bytes of its own."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

from botocore.exceptions import ClientError

from schemas import ServiceError
from storage.diagnosis import Diagnosis, clock
from storage.ids import fresh_id
from storage.incoming import INCOMING
from storage.options import S3Options
from storage.s3.client import Bucket
from storage.s3.errors import FAILURES, code_of, unavailable
from storage.s3.scan import CHECK

_BUCKET, _ENDPOINT, _PUBLIC = "upload.s3_bucket", "upload.s3_endpoint_url", "upload.s3_public_endpoint_url"
_CONTENT = b"attachd"
_UNKNOWN = frozenset({"AccessDenied", "NotImplemented", "MethodNotAllowed"})
_PUBLIC_TIMEOUT_S = 5.0


async def examine_bucket(options: S3Options, origins: Sequence[str] = ()) -> list[Diagnosis]:
    """What is found out by calling the store; `origins` are those of pages that may want to send files there."""
    try:
        bucket = Bucket(options)
    except ValueError as error:
        return [Diagnosis(_ENDPOINT, "fail", str(error), "write the URL of an S3 endpoint")]
    try:
        found = await bucket.call(_reach, bucket)
        for work in (_permissions, _multipart, _incoming, _lifecycle, _public, _spool):
            found += await bucket.call(lambda work=work: list(work(bucket)))
        found += await bucket.call(lambda: [_page(bucket, origin) for origin in origins])
        return found
    except ServiceError as error:
        return [Diagnosis(_BUCKET, "fail", str(error), "then run `attachd doctor` again")]
    finally:
        await bucket.aclose()


def _reach(bucket: Bucket) -> list[Diagnosis]:
    """Raises one of `FAILURES` when nothing else need be tried."""
    before = time.time()
    answer = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=bucket.options.prefix, MaxKeys=1)
    after = time.time()
    place = f'"{bucket.name}" at {bucket.options.endpoint_url or "AWS"}'
    found = [Diagnosis(_BUCKET, "ok", f"{place}: listed in {(after - before) * 1000:.0f} ms")]
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date:
        with contextlib.suppress(ValueError):
            # The header has whole seconds: half of one is added, on average what is cut off.
            found.append(clock(_ENDPOINT, (before + after) / 2 - parsedate_to_datetime(date).timestamp() - 0.5, "the store's"))
    return found


def _try(bucket: Bucket, name: str, work: Callable[[], Any]) -> Diagnosis:
    try:
        work()
    except FAILURES as error:
        return Diagnosis(_BUCKET, "fail", f"{name}: {unavailable(error, bucket.options)}", f"allow s3:{name}")
    return Diagnosis(_BUCKET, "ok", f"{name} works")


def _permissions(bucket: Bucket) -> Iterator[Diagnosis]:
    client, where = bucket.client, bucket.where(f"{CHECK}{fresh_id()}")
    put = _try(bucket, "PutObject", lambda: client.put_object(Body=_CONTENT, Key=where["Key"], **bucket.args))
    yield put
    if put.health != "ok":
        return
    yield _try(bucket, "GetObject", lambda: _compare(client.get_object(**where)["Body"].read()))
    yield _try(
        bucket,
        "DeleteObject",
        lambda: client.delete_objects(Bucket=where["Bucket"], Delete={"Objects": [{"Key": where["Key"]}]}),
    )


def _compare(content: bytes) -> None:
    if content != _CONTENT:
        raise OSError(0, f"what was written came back as {content[:20]!r}")


def _multipart(bucket: Bucket) -> Iterator[Diagnosis]:
    client, where = bucket.client, bucket.where(f"{CHECK}{fresh_id()}")
    try:
        upload = client.create_multipart_upload(Key=where["Key"], **bucket.args)["UploadId"]
    except FAILURES as error:
        yield Diagnosis(_BUCKET, "fail", f"multipart uploads: {unavailable(error, bucket.options)}", "allow s3:PutObject")
        return
    yield _try(bucket, "UploadPart", lambda: client.upload_part(**where, UploadId=upload, PartNumber=1, Body=_CONTENT))
    yield _try(bucket, "AbortMultipartUpload", lambda: client.abort_multipart_upload(**where, UploadId=upload))
    prefix = f"{bucket.options.prefix}attachments/"
    yield _try(
        bucket,
        "ListBucketMultipartUploads",
        lambda: client.list_multipart_uploads(Bucket=bucket.name, Prefix=prefix, MaxUploads=1),
    )


def _incoming(bucket: Bucket) -> Iterator[Diagnosis]:
    """What clients send to the bucket themselves is taken over by copying it from where they may write."""
    client, source, target = bucket.client, bucket.where(f"{INCOMING}{CHECK}{fresh_id()}"), bucket.where(f"{CHECK}{fresh_id()}")
    try:
        client.put_object(Body=_CONTENT, Key=source["Key"], **bucket.args)
        client.copy_object(CopySource={"Bucket": bucket.name, "Key": source["Key"]}, Key=target["Key"], **bucket.args)
        for where in (source, target):
            client.delete_object(**where)
    except FAILURES as error:
        text = f"direct uploads: {unavailable(error, bucket.options)}"
        mend = f"allow s3:PutObject, s3:GetObject and s3:DeleteObject below {bucket.options.prefix}{INCOMING}"
        yield Diagnosis(_BUCKET, "fail", text, mend)
    else:
        yield Diagnosis(_BUCKET, "ok", "direct uploads can be taken over")


def _page(bucket: Bucket, origin: str) -> Diagnosis:
    """Ask as a browser does before a page may send a part (WHATWG Fetch, CORS-preflight request)."""
    where = bucket.where(f"{INCOMING}{CHECK}{fresh_id()}")
    url = bucket.signer.generate_presigned_url("put_object", Params={**where})
    headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    try:
        with urlopen(Request(url, method="OPTIONS", headers=headers), timeout=_PUBLIC_TIMEOUT_S) as answer:  # noqa: S310 (as below)
            allowed = answer.headers.get("Access-Control-Allow-Origin")
    except (OSError, HTTPException):  # a status that says no, too
        allowed = None
    if allowed in ("*", origin):
        return Diagnosis(_BUCKET, "ok", f"pages of {origin} may send files to it")
    text = f"pages of {origin} cannot send files to it themselves: no CORS rule of the bucket allows that"
    return Diagnosis(_BUCKET, "warn", text, 'add the rule of docs/operations.md, "Direct uploads", if they are to')


def _lifecycle(bucket: Bucket) -> Iterator[Diagnosis]:
    """Parts of uploads that nobody finished cost money until somebody removes them: `sweep`, or the store by itself."""
    mend = "add a lifecycle rule AbortIncompleteMultipartUpload of some days, or run `attachd sweep` daily"
    try:
        rules = bucket.client.get_bucket_lifecycle_configuration(Bucket=bucket.name).get("Rules", [])
    except ClientError as error:
        if code_of(error) in _UNKNOWN or code_of(error) != "NoSuchLifecycleConfiguration":
            yield Diagnosis(_BUCKET, "ok", "whether unfinished uploads are removed by a lifecycle rule cannot be asked")
            return
        rules = []
    if any(rule.get("Status") == "Enabled" and "AbortIncompleteMultipartUpload" in rule for rule in rules):
        yield Diagnosis(_BUCKET, "ok", "a lifecycle rule removes unfinished uploads")
    else:
        yield Diagnosis(_BUCKET, "warn", "no lifecycle rule removes unfinished uploads", mend)


def _public(bucket: Bucket) -> Iterator[Diagnosis]:
    """Any answer will do: what clients are sent to is there."""
    url = bucket.options.public_endpoint_url
    if not url or bucket.options.proxy:
        return
    try:
        with urlopen(url, timeout=_PUBLIC_TIMEOUT_S):  # noqa: S310 (http or https: the settings were checked)
            pass
    except (OSError, HTTPException) as error:
        if getattr(error, "code", None) is None:  # an HTTP status is an answer
            reason = getattr(error, "reason", error)
            yield Diagnosis(_PUBLIC, "warn", f"{url} cannot be reached from here: {reason}", "see that clients can reach it")
            return
    yield Diagnosis(_PUBLIC, "ok", f"{url} answers")


def _spool(bucket: Bucket) -> Iterator[Diagnosis]:
    check = "upload.s3_spool_directory"
    try:
        bucket.check_spool()
    except OSError as error:
        yield Diagnosis(check, "fail", f"parts cannot be kept there: {error.strerror}", "name a folder that may be written")
    else:
        yield Diagnosis(check, "ok", "parts can be kept there")
