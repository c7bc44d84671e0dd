"""The settings of what Lasttouch sends to others: provisioning webhooks and e-mails."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from email.errors import MessageError
from email.policy import SMTP
from typing import Any
from urllib.parse import unquote, urlsplit

from tracker.errors import SettingError

SECRET_PREFIX = "whsec_"
SECRET_BYTES = (24, 64)  # least and most, as Standard Webhooks has it
DEFAULT_MAIL_FROM = "Lasttouch <no-reply@localhost>"
PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class MailServer:
    """A mail server. `is_tls`: TLS from the first byte; else STARTTLS where the server offers it."""

    host: str
    port: int
    is_tls: bool
    user: str = ""
    password: str = ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, so that what is sent to it crosses no network."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_provisioning(environ: Mapping[str, str]) -> tuple[str | None, tuple[bytes, ...]]:
    """The webhook's URL and the keys that sign it. Its payloads hold clients' personal data, so that it must be https,
    unless it stays on this machine. Raises SettingError."""
    url, secret = (environ.get(f"LASTTOUCH_PROVISIONING_{name}", "").strip() for name in ("URL", "SECRET"))
    if not url:
        return None, ()
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or parts.username or not url.isprintable() or " " in url:
        raise SettingError("LASTTOUCH_PROVISIONING_URL is not right; give https://host/path, without a user or blanks")
    if parts.scheme == "http" and not is_loopback(host):
        raise SettingError("LASTTOUCH_PROVISIONING_URL must be https: webhooks hold clients' names and addresses")
    if not secret:
        raise SettingError("LASTTOUCH_PROVISIONING_URL needs LASTTOUCH_PROVISIONING_SECRET to sign webhooks with")
    return url, tuple(_key(word) for word in secret.split())


def _key(word: str) -> bytes:
    try:
        if not word.startswith(SECRET_PREFIX):
            raise ValueError
        key = base64.b64decode(word.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        raise SettingError(f"LASTTOUCH_PROVISIONING_SECRET must be {SECRET_PREFIX} and base64") from None
    least, most = SECRET_BYTES
    if not least <= len(key) <= most:
        raise SettingError(f"LASTTOUCH_PROVISIONING_SECRET must be base64 of {least} to {most} bytes, after whsec_")
    return key


def read_mail_server(environ: Mapping[str, str]) -> MailServer | None:
    """The mail server; None without one. Raises SettingError."""
    url = environ.get("LASTTOUCH_SMTP_URL", "").strip()
    if not url:
        return None
    wrong = SettingError("LASTTOUCH_SMTP_URL is not right; give smtp://user:password@host:587 or smtps://…:465")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise wrong
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailServer(parts.hostname, port or PORTS[parts.scheme], parts.scheme == "smtps", user, password)


def read_mail_from(environ: Mapping[str, str], server: MailServer | None) -> str:
    """The sender's address, with a name or without one. Raises SettingError."""
    text = environ.get("LASTTOUCH_MAIL_FROM", "").strip()
    if not text:
        if server is not None:
            raise SettingError("LASTTOUCH_SMTP_URL needs LASTTOUCH_MAIL_FROM, the address that e-mails come from")
        return DEFAULT_MAIL_FROM
    try:
        header: Any = SMTP.header_factory("From", text)
        is_right = len(header.addresses) == 1 and bool(header.addresses[0].domain) and not header.defects
    except (MessageError, ValueError, IndexError):
        is_right = False
    if not is_right or not text.isprintable():
        raise SettingError("LASTTOUCH_MAIL_FROM is not right; give an address such as Partners <partners@example.com>")
    return text
