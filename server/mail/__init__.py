"""Sending what is in the outbox over SMTP."""

from server.mail.delivery import Delivery
from server.mail.wiring import check_mail, delivery, mail_options, reach_mail_server

__all__ = ["Delivery", "check_mail", "delivery", "mail_options", "reach_mail_server"]
