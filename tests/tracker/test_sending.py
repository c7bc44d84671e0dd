"""Settings of webhooks and e-mails: what is wrong stops the start with one line that says how to mend it."""

from __future__ import annotations

import base64

import pytest

from tracker.errors import SettingError
from tracker.sending import MailServer
from tracker.settings import read_settings

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
URL, SECRETS, SMTP, SENDER = (
    f"LASTTOUCH_{name}" for name in ("PROVISIONING_URL", "PROVISIONING_SECRET", "SMTP_URL", "MAIL_FROM")
)


def test_nothing_is_sent_unless_told() -> None:
    settings = read_settings({})
    assert (settings.provisioning_url, settings.provisioning_secrets, settings.mail_server) == (None, (), None)


def test_a_webhook_has_an_address_and_secrets() -> None:
    settings = read_settings({URL: "https://live.example/hook", SECRETS: f"{SECRET} {SECRET}"})
    assert (settings.provisioning_url, settings.provisioning_secrets) == ("https://live.example/hook", (KEY, KEY))
    for local in ("http://localhost:8080/hook", "http://127.0.0.1/", "http://[::1]:1/"):
        assert read_settings({URL: local, SECRETS: SECRET}).provisioning_url == local


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({URL: "http://live.example/", SECRETS: SECRET}, "must be https"),
        ({URL: "http://10.0.0.1/", SECRETS: SECRET}, "must be https"),
        ({URL: "ftp://live.example/", SECRETS: SECRET}, "is not right"),
        ({URL: "https://user:word@live.example/", SECRETS: SECRET}, "is not right"),
        ({URL: "https://live.example/a b", SECRETS: SECRET}, "is not right"),
        ({URL: "https://live.example/"}, "needs LASTTOUCH_PROVISIONING_SECRET"),
        ({URL: "https://live.example/", SECRETS: "secret"}, "whsec_"),
        ({URL: "https://live.example/", SECRETS: "whsec_!!!"}, "whsec_"),
        ({URL: "https://live.example/", SECRETS: "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ({SMTP: "mail.example"}, "smtp://"),
        ({SMTP: "https://mail.example"}, "smtp://"),
        ({SMTP: "smtp://mail.example:99999", SENDER: "a@b.example"}, "smtp://"),
        ({SMTP: "smtp://mail.example"}, "needs LASTTOUCH_MAIL_FROM"),
        ({SENDER: "nobody"}, "LASTTOUCH_MAIL_FROM is not right"),
        ({SENDER: "a@b.example, c@d.example"}, "LASTTOUCH_MAIL_FROM is not right"),
        ({SENDER: "A\nBcc: c@d.example <a@b.example>"}, "LASTTOUCH_MAIL_FROM is not right"),
    ],
)
def test_what_is_wrong_is_said(environ: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError) as raised:
        read_settings(environ)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    for secret in ("word", "c2hvcnQ", "!!!"):
        if secret in environ.get(SECRETS, ""):
            assert secret not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", MailServer("mail.example", 587, is_tls=False)),
        ("smtps://mail.example", MailServer("mail.example", 465, is_tls=True)),
        ("smtp://me%40x.example:p%2Fw@mail.example:25",
         MailServer("mail.example", 25, is_tls=False, user="me@x.example", password="p/w")),
    ],
)  # fmt: skip
def test_a_mail_server_is_read(url: str, server: MailServer) -> None:
    settings = read_settings({SMTP: url, SENDER: "Partners <partners@program.example>"})
    assert (settings.mail_server, settings.mail_from) == (server, "Partners <partners@program.example>")
