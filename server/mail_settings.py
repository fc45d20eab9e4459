"""What can be set of mail. A module of its own for length; `server/setting_types.py` says what settings are."""

from typing import Annotated

import msgspec
from msgspec import Meta

SECURITY = ("starttls", "tls", "none")


class MailSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[mail]`: sending the messages of conversations."""

    host: Annotated[
        str, Meta(description="SMTP server; without one messages are kept, and wait in the outbox until there is one.")
    ] = ""
    port: Annotated[
        int, Meta(ge=1, le=65535, description="Its port: 587 for `starttls`, 465 for `tls`, 25 in between servers.")
    ] = 587
    security: Annotated[str, Meta(description="`starttls` or `tls`, without which nothing is sent, or `none`.")] = "starttls"
    ca_file: Annotated[str, Meta(description="File of the certificates (PEM) to trust instead of the system's.")] = ""
    username: Annotated[str, Meta(description="Whom to authenticate as; nobody without one.")] = ""
    password: Annotated[str, Meta(description="The password.", extra={"secret": True})] = ""
    sender: Annotated[
        str,
        Meta(description="Who mails come from: `support@example.com` or `Support <support@example.com>`; needed with a host."),
    ] = ""
    connections: Annotated[int, Meta(ge=1, le=100, description="Mails that a worker process sends at once.")] = 4
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds to wait for the server at each step but the last.")
    ] = 60.0
    answer_timeout_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds to wait for the answer to a whole mail.")
    ] = 600.0
    retry_seconds: Annotated[
        float, Meta(gt=0, le=86_400, description="Seconds until the second attempt, then twice as long each time.")
    ] = 30.0
    retry_max_seconds: Annotated[float, Meta(gt=0, le=86_400, description="Seconds between attempts at most.")] = 3600.0
    give_up_hours: Annotated[float, Meta(ge=0, le=8760, description="Hours after which no more attempts are made.")] = 72.0
    resend_unanswered: Annotated[
        bool,
        Meta(
            description="Send a mail again whose answer was lost and that may have been delivered; else `attachd outbox` must."
        ),
    ] = True
    lease_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="Seconds after which another worker sends what one that died was sending.")
    ] = 15.0
    poll_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds after which a worker hears of messages that another process queued.")
    ] = 1.0
    max_message_bytes: Annotated[
        int, Meta(ge=16_384, le=2**31, description="Bytes of a mail; files that do not fit are sent as signed links.")
    ] = 25_000_000
    link_days: Annotated[int, Meta(ge=1, le=3650, description="Days for which signed links in mails hold at least.")] = 30
    max_content_bytes: Annotated[int, Meta(ge=1024, le=2**28, description="Bytes of a message's HTML.")] = 10_485_760
    max_recipients: Annotated[int, Meta(ge=1, le=1000, description="Recipients of a message.")] = 50
    max_attachments: Annotated[int, Meta(ge=1, le=1000, description="Attachments of a message.")] = 50
