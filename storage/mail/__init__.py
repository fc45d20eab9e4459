"""Mail: what a message becomes on its way out. Pure; `server/mail/` moves the bytes."""

from storage.mail.addresses import Mailbox, has_controls, parse_mailbox
from storage.mail.html import uploads_shown
from storage.mail.mime import BASE64_LINE_BYTES, Composed, File, Mail
from storage.mail.outcomes import UNANSWERED, Failure, OutboxState, Recipient, Result, Retry, Settled, settle
from storage.mail.plans import TooLarge, plan

__all__ = [
    "BASE64_LINE_BYTES",
    "UNANSWERED",
    "Composed",
    "Failure",
    "File",
    "Mail",
    "Mailbox",
    "OutboxState",
    "Recipient",
    "Result",
    "Retry",
    "Settled",
    "TooLarge",
    "has_controls",
    "parse_mailbox",
    "plan",
    "settle",
    "uploads_shown",
]
