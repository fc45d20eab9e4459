"""From the settings to what sends mails, and to what the store needs to know of them."""

import ipaddress
from urllib.parse import urlsplit

from server.mail.delivery import Delivery
from server.mail.smtp import Refused, connected, tls_context
from server.setting_rules import mail_sender
from server.settings import Settings, SettingsError
from storage import MailOptions, Store

_DAY_S = 86_400


def check_mail(settings: Settings) -> None:
    """Raises SettingsError when `mail.ca_file` cannot be used."""
    mail = settings.mail
    try:
        if mail.host and mail.ca_file:
            tls_context(mail)
    except OSError as error:  # an SSLError is one, of a file without certificates
        raise SettingsError(f"mail.ca_file: {mail.ca_file}: {error.strerror or error}") from error


async def reach_mail_server(settings: Settings) -> str:
    """What is wrong when the server is connected to as for a mail, with TLS and the credentials; "" when nothing is."""
    mail = settings.mail
    try:
        async with connected(mail, _ehlo_name(settings.server.base_url), tls_context(mail)):
            return ""
    except Refused as refused:
        return refused.failure.text
    except OSError as error:
        return f"mail.ca_file: {mail.ca_file}: {error.strerror or error}"


def delivery(settings: Settings, store: Store) -> Delivery:
    """What sends the messages of the store. Raises OSError when `mail.ca_file` cannot be used."""
    return Delivery(store.outbox, settings.mail, mail_sender(settings.mail), _ehlo_name(settings.server.base_url))


def mail_options(settings: Settings) -> MailOptions:
    """What a message may have. Message-IDs bear the domain of the sender, or the host of this server without one."""
    mail = settings.mail
    return MailOptions(
        max_content_bytes=mail.max_content_bytes,
        max_recipients=mail.max_recipients,
        max_attachments=mail.max_attachments,
        link_expiry_s=mail.link_days * _DAY_S,
        domain=mail_sender(mail).domain if mail.sender else _host(settings.server.base_url),
    )


def _host(base_url: str) -> str:
    return urlsplit(base_url).hostname or "localhost"


def _ehlo_name(base_url: str) -> str:
    """What this server calls itself: its host, or an address literal (RFC 5321, 4.1.3)."""
    host = _host(base_url)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"
