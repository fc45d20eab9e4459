"""What the failures of an S3-compatible store mean: 503 to every client, and to the operator what to mend."""

import errno
from http.client import HTTPException

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from storage.blobs import BlobsUnavailable
from storage.options import S3Options

# What calls and the bodies of their answers raise. OSError is of the spool, and of a wait that took too long (TimeoutError).
FAILURES = (BotoCoreError, ClientError, HTTPException, OSError)
_MISSING = frozenset({"NoSuchKey", "NoSuchUpload", "404", "NotFound"})
_CREDENTIALS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"})
_FORBIDDEN = frozenset({"AccessDenied", "403", "AllAccessDisabled", "AccountProblem"})
_ELSEWHERE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "301", "IllegalLocationConstraintException"})


class WrongAnswerError(BotoCoreError):
    """The store says that it has, or gives, other bytes than it was asked for."""

    fmt = "{what} of {key}: {answer}"


def code_of(error: BaseException) -> str:
    """The error code in an answer of the store; "" when there was no answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def is_missing(error: BaseException) -> bool:
    """Whether what was asked for is not there."""
    return code_of(error) in _MISSING


def unavailable(error: BaseException, options: S3Options) -> BlobsUnavailable:
    """What is raised instead of one of `FAILURES`."""
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    return BlobsUnavailable(_explain(error, options), full=full)


def _explain(error: BaseException, options: S3Options) -> str:
    """One line for the operator."""
    where = options.endpoint_url or "AWS"
    if isinstance(error, ClientError):
        return _explain_answer(error, options, where)
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "upload.s3_access_key and upload.s3_secret_key are not set, and this machine has no credentials for S3 otherwise"
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError | TimeoutError):
        return f"upload.s3_endpoint_url: {where} cannot be reached: {_line(error) or 'it took too long'}"
    if isinstance(error, OSError):
        return f"the folder for parts on their way to S3 fails: {error.strerror}; see upload.s3_spool_directory"
    return f"S3 at {where} fails: {_line(error)}"


def _explain_answer(error: ClientError, options: S3Options, where: str) -> str:
    code, operation = code_of(error), error.operation_name
    if code == "NoSuchBucket":
        return f'upload.s3_bucket: there is no bucket "{options.bucket}" at {where}; create it'
    if code in _CREDENTIALS:
        return f"upload.s3_access_key, upload.s3_secret_key: {where} does not accept these credentials ({code})"
    if code in _FORBIDDEN:
        return f'upload.s3_access_key: these credentials may not {operation} in the bucket "{options.bucket}" ({code})'
    if code in _ELSEWHERE:
        return f'upload.s3_region: the bucket "{options.bucket}" is in another region than "{options.region}" ({code})'
    if code == "RequestTimeTooSkewed":
        return f"the clock of this machine and that of {where} differ too much; set it by NTP"
    return f"S3 at {where} fails: {_line(error)}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
