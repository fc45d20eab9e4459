"""What an operator decides about the store; the settings give it, and tests take the defaults."""

from pathlib import Path

import msgspec

from storage.signing import SigningKey


class MailOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a message may have, and what its mail is made of.

    Links in mails hold for `link_expiry_s` at least. Message-IDs end with `domain`.
    """

    max_content_bytes: int = 10_485_760
    max_recipients: int = 50
    max_attachments: int = 50
    link_expiry_s: int = 30 * 86_400
    domain: str = "localhost"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in seconds unless the name says otherwise.

    `search_s` is how long a page may take that no index serves,
    `poll_s` how often the commits of other processes are looked for while somebody subscribes to changes,
    `retention_s` how long a deleted attachment can be restored, `max_batch_size` what clients are told of batches,
    `direct_expiry_s` how long the URLs of a direct upload are good, `direct_max_open` how many of these a caller may have open.
    `base_url` is the origin that links begin with. Signed links hold for `url_expiry_s` and up to `url_window_s` more; without
    `signing_keys` a key is made and kept in the database.
    """

    search_s: float = 10.0
    poll_s: float = 0.25
    retention_s: float = 30 * 86_400.0
    max_batch_size: int = 100
    direct_expiry_s: int = 3_600
    direct_max_open: int = 100
    signing_keys: tuple[SigningKey, ...] = ()
    url_expiry_s: int = 86_400
    url_window_s: int = 3_600
    base_url: str = "http://127.0.0.1:8080"
    mail: MailOptions = MailOptions()


class S3Options(msgspec.Struct, frozen=True, kw_only=True):
    """Where an S3-compatible store is, and how it is used; sizes in bytes, times in seconds.

    Without a key and its secret boto3 looks for them itself: in the environment, in its files, in the role of the machine.
    Without `endpoint_url` it is AWS; `public_endpoint_url` is where clients reach it, if elsewhere. `addressing` is `auto`,
    `path` or `virtual`. Keys begin with `prefix`. A call is made up to `attempts` times, in one of `connections` threads; parts
    wait in files of `spool_directory`, the system's temporary folder without, until they are whole. Clients get the bytes by
    links that hold for `url_expiry_s`, unless `proxy` has this program hand them over.
    """

    bucket: str
    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    endpoint_url: str = ""
    public_endpoint_url: str = ""
    prefix: str = ""
    addressing: str = "auto"
    proxy: bool = False
    url_expiry_s: int = 86_400
    part_bytes: int = 8 * 1024 * 1024
    spool_directory: Path | None = None
    connections: int = 32
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 20.0
    attempts: int = 3
    server_side_encryption: str = ""
    kms_key_id: str = ""

    def __repr__(self) -> str:
        """Without the secret."""
        return f"S3Options(bucket={self.bucket!r}, endpoint_url={self.endpoint_url!r}, prefix={self.prefix!r})"
