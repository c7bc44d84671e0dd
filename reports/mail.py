"""E-mails: sent by SMTP, or kept in the outbox folder where no mail server is set. No log names an address.

A letter's headers are made by the standard library, which refuses line breaks in them; names and addresses go in as
they are and not as text of headers.
"""

from __future__ import annotations

import logging
import smtplib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import anyio.to_thread
import jinja2

from reports.deliveries import NotTaken, Refused
from tracker.sending import MailServer, is_loopback
from tracker.settings import Settings

log = logging.getLogger(__name__)

SMTP_SECONDS = 20.0
LONGEST_NAME = 200  # of a person, in a header
LONGEST_SUBJECT = 200

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates" / "mail"),
    autoescape=jinja2.select_autoescape(["html"]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Letter:
    """An e-mail. `id` stays the same whenever it is sent again, and makes its Message-ID."""

    id: str
    written_at: int
    to_email: str
    to_name: str
    subject: str
    text: str
    html: str


def render(template: str, **values: object) -> tuple[str, str]:
    """Text and HTML of a letter: templates/mail/`template`.txt and .html."""
    return tuple(_TEMPLATES.get_template(f"{template}.{kind}").render(values) for kind in ("txt", "html"))  # type: ignore[return-value]


def message_of(letter: Letter, mail_from: str) -> EmailMessage:
    """A letter as RFC 5322 text with an HTML alternative. Raises Refused where the address cannot stand in a header."""
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = mail_from
        message["To"] = Address(_plain(letter.to_name)[:LONGEST_NAME], addr_spec=letter.to_email.strip())
        message["Subject"] = _plain(letter.subject)[:LONGEST_SUBJECT]
        message["Date"] = datetime.fromtimestamp(letter.written_at // 1000, UTC)
        message["Message-ID"] = f"<{letter.id}@{message['From'].addresses[0].domain}>"
        message["Auto-Submitted"] = "auto-generated"
    except Exception:  # the library raises whatever its parser meets, and its words hold the address
        raise Refused("the address cannot be written to") from None
    # As it is where that is possible: the operator reads it in the outbox.
    is_plain = letter.text.isascii() and all(len(line) < 998 for line in letter.text.splitlines())
    message.set_content(letter.text, cte="7bit" if is_plain else "quoted-printable")
    message.add_alternative(letter.html, subtype="html")
    return message


def _plain(text: str) -> str:
    """`text` on one line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


@dataclass(frozen=True, slots=True)
class Post:
    """Sends letters. Without a mail server they go to the outbox folder, for its operator to see."""

    server: MailServer | None
    mail_from: str
    outbox: Path

    @classmethod
    def of(cls, settings: Settings) -> Post:
        """The post that the settings name."""
        return cls(settings.mail_server, settings.mail_from, settings.outbox)

    async def send(self, letter: Letter) -> str:
        """Send a letter, and say how it was taken. Raises NotTaken, and Refused where it never will be."""
        message = message_of(letter, self.mail_from)
        if self.server is None:
            path = self.outbox / f"{letter.id}.eml"
            await anyio.to_thread.run_sync(_keep, path, message)
            log.info("a letter was written to %s: no mail server is set (LASTTOUCH_SMTP_URL)", path)
            return f"written to the outbox, {path.name}"
        server = self.server
        return await anyio.to_thread.run_sync(lambda: _send(server, message), abandon_on_cancel=True)


def _keep(path: Path, message: EmailMessage) -> None:
    """Write a letter so that only our own user can read it, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_bytes(message.as_bytes())
    temporary.replace(path)


def _send(server: MailServer, message: EmailMessage) -> str:
    context = ssl.create_default_context()
    try:
        with _connect(server, context) as client:
            if not server.is_tls:
                client.ehlo()
                if client.has_extn("starttls"):
                    client.starttls(context=context)
                elif server.user and not is_loopback(server.host):
                    raise NotTaken("the mail server offers no TLS, and the password is not sent without")
            if server.user:
                client.login(server.user, server.password)
            client.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code = max((code for code, _ in error.recipients.values()), default=0)
        raise (Refused if code >= 500 else NotTaken)(f"the mail server refuses the address: {code}") from None
    except smtplib.SMTPResponseException as error:
        raise NotTaken(f"the mail server answered {error.smtp_code}") from None
    except smtplib.SMTPException as error:
        raise NotTaken(f"the mail server: {type(error).__name__}") from None
    except OSError as error:
        raise NotTaken(f"no mail server: {error.strerror or type(error).__name__}") from None
    return "taken by the mail server"


def _connect(server: MailServer, context: ssl.SSLContext) -> smtplib.SMTP:
    if server.is_tls:
        return smtplib.SMTP_SSL(server.host, server.port, timeout=SMTP_SECONDS, context=context)
    return smtplib.SMTP(server.host, server.port, timeout=SMTP_SECONDS)
