"""Sending what is in the outbox over SMTP."""

from server.mail.delivery import Delivery
from server.mail.wiring import delivery, mail_options

__all__ = ["Delivery", "delivery", "mail_options"]
