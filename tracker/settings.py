"""Settings: read from the environment and flags once, into one frozen object."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tracker.client_address import COUNTRY_HEADERS
from tracker.countries import BUNDLED, OFF, open_countries
from tracker.errors import SettingError
from tracker.journal_bound import DEFAULT_BOUND, LEAST_CLICKS, JournalBound
from tracker.sending import MailServer, read_mail_from, read_mail_server, read_provisioning
from tracker.spool import SPOOL_BYTES

# Every environment variable that Lasttouch reads, and what it is for. `lasttouch --help` and
# docs/settings.md list these; a test fails when one is undocumented.
VARIABLES: dict[str, str] = {
    "LASTTOUCH_REDIS_URL": "redis://, rediss:// or unix:// URL of Redis; embedded under the data folder without it",
    "LASTTOUCH_CLICKHOUSE_URL": "http(s):// or chdb:/// URL of ClickHouse; embedded under the data folder without it",
    "LASTTOUCH_PROGRAM": "path of program.toml; LiveChat's program without it",
    "LASTTOUCH_DATA": "the data folder (default ./data)",
    "LASTTOUCH_ADMIN_TOKEN": "the admin token; made at the first start and kept in the data folder without it",
    "LASTTOUCH_TRACKER_URL": "public address of the tracker, used in links (default http://localhost:8000)",
    "LASTTOUCH_APP_URL": "public address of the app (default http://localhost:8001)",
    "LASTTOUCH_TRUSTED_PROXIES": "comma-separated networks whose X-Forwarded-* headers are believed",
    "LASTTOUCH_COUNTRY_HEADER": "header in which trusted proxies name the visitor's country, such as CF-IPCountry",
    "LASTTOUCH_COUNTRIES": "where countries come from: bundled (default), off, or the path of an MMDB file",
    "LASTTOUCH_JOURNAL_CLICKS": "how many clicks may wait in Redis for ClickHouse (default 5000000)",
    "LASTTOUCH_SPOOL_MEGABYTES": "how much disk clicks may take that Redis does not (default 1024)",
    "LASTTOUCH_PROVISIONING_URL": "https:// URL of LiveChat's own system, which webhooks tell what to create or change",
    "LASTTOUCH_PROVISIONING_SECRET": "whsec_… that webhooks are signed with; or several, apart by blanks",
    "LASTTOUCH_SMTP_URL": "smtp:// or smtps:// URL of the mail server; e-mails stay in the outbox folder without it",
    "LASTTOUCH_MAIL_FROM": "address that e-mails come from, such as Partners <partners@example.com>",
    "LASTTOUCH_PARTNER_CALLS_PER_MINUTE": "API calls of a partner's token in a minute (default 10000; 0 for any)",
}


MEGABYTE = 1 << 20
# 167 a second: no report needs as many, and a program that runs wild does not take the app from everybody else.
PARTNER_CALLS_PER_MINUTE = 10_000
MOST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process needs to know before it starts. None means embedded (URLs) or made at start (token)."""

    data: Path
    redis_url: str | None = None
    clickhouse_url: str | None = None
    program_path: Path | None = None
    admin_token: str | None = None
    tracker_url: str = "http://localhost:8000"
    app_url: str = "http://localhost:8001"
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    country_header: str = ""
    countries: str = BUNDLED
    journal_bound: JournalBound = DEFAULT_BOUND
    spool_bytes: int = SPOOL_BYTES
    provisioning_url: str | None = None
    provisioning_secrets: tuple[bytes, ...] = ()
    mail_server: MailServer | None = None
    mail_from: str = "Lasttouch <no-reply@localhost>"
    partner_calls_per_minute: int = PARTNER_CALLS_PER_MINUTE

    @property
    def redis_socket(self) -> Path:
        """The unix socket of the embedded Redis."""
        return self.data / "redis" / "redis.sock"

    @property
    def spool(self) -> Path:
        """Where clicks wait on disk while Redis is down."""
        return self.data / "spool"

    @property
    def outbox(self) -> Path:
        """Where e-mails lie that no mail server is there for."""
        return self.data / "outbox"

    @property
    def directory_snapshot(self) -> Path:
        """What trackers start with while Redis is down."""
        return self.data / "directory.snapshot"

    @property
    def effective_redis_url(self) -> str:
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def effective_clickhouse_url(self) -> str:
        return self.clickhouse_url or f"chdb://{self.data / 'clickhouse'}"

    @property
    def clickhouse_is_embedded(self) -> bool:
        return self.effective_clickhouse_url.startswith("chdb://")


def read_settings(environ: Mapping[str, str] | None = None, data: str | None = None) -> Settings:
    """Settings from `environ` (the process's own by default); `data` is the --data flag, which wins.

    Raises SettingError with one line for an unknown LASTTOUCH_* name or a bad value.
    """
    environ = os.environ if environ is None else environ
    for name in sorted(environ):
        if name.startswith("LASTTOUCH_") and name not in VARIABLES:
            raise SettingError(f"{name} is not a setting; known are {', '.join(VARIABLES)}")
    program = environ.get("LASTTOUCH_PROGRAM")
    provisioning_url, provisioning_secrets = read_provisioning(environ)
    mail_server = read_mail_server(environ)
    return Settings(
        data=Path(data or environ.get("LASTTOUCH_DATA") or "data").expanduser().resolve(),
        redis_url=_url(environ, "LASTTOUCH_REDIS_URL", ("redis", "rediss", "unix")),
        clickhouse_url=_url(environ, "LASTTOUCH_CLICKHOUSE_URL", ("http", "https", "chdb")),
        program_path=Path(program) if program else None,
        admin_token=_admin_token(environ),
        tracker_url=(_url(environ, "LASTTOUCH_TRACKER_URL", ("http", "https")) or "http://localhost:8000").rstrip("/"),
        app_url=(_url(environ, "LASTTOUCH_APP_URL", ("http", "https")) or "http://localhost:8001").rstrip("/"),
        trusted_proxies=_networks(environ),
        country_header=_country_header(environ),
        countries=_countries(environ),
        journal_bound=JournalBound(_whole(environ, "LASTTOUCH_JOURNAL_CLICKS", LEAST_CLICKS, DEFAULT_BOUND.clicks)),
        partner_calls_per_minute=_whole(environ, "LASTTOUCH_PARTNER_CALLS_PER_MINUTE", 0, PARTNER_CALLS_PER_MINUTE),
        spool_bytes=_whole(environ, "LASTTOUCH_SPOOL_MEGABYTES", 1, SPOOL_BYTES // MEGABYTE) * MEGABYTE,
        provisioning_url=provisioning_url,
        provisioning_secrets=provisioning_secrets,
        mail_server=mail_server,
        mail_from=read_mail_from(environ, mail_server),
    )


def _url(environ: Mapping[str, str], name: str, schemes: tuple[str, ...]) -> str | None:
    value = environ.get(name)
    if not value:
        return None
    parts = urlsplit(value)
    local = parts.scheme in ("unix", "chdb")
    if parts.scheme not in schemes or not (parts.path.startswith("/") if local else parts.hostname):
        forms = " or ".join(f"{scheme}://{'/path' if scheme in ('unix', 'chdb') else 'host'}" for scheme in schemes)
        raise SettingError(f"{name}={value!r} is not right; give {forms}")
    return value


def _whole(environ: Mapping[str, str], name: str, least: int, otherwise: int) -> int:
    """A whole number, `least` or more."""
    text = environ.get(name) or str(otherwise)
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS and int(text) >= least):
        raise SettingError(f"{name}={text!r} is not right; give a whole number, {least} or more")
    return int(text)


def _admin_token(environ: Mapping[str, str]) -> str | None:
    token = environ.get("LASTTOUCH_ADMIN_TOKEN") or None
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise SettingError("LASTTOUCH_ADMIN_TOKEN must be printable ASCII without blanks")
    return token


def _networks(environ: Mapping[str, str]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    names = [item.strip() for item in environ.get("LASTTOUCH_TRUSTED_PROXIES", "").split(",") if item.strip()]
    try:
        return tuple(ipaddress.ip_network(name, strict=False) for name in names)
    except ValueError as error:
        raise SettingError(f"LASTTOUCH_TRUSTED_PROXIES: {error}; give networks like 10.0.0.0/8,::1") from None


def _country_header(environ: Mapping[str, str]) -> str:
    name = environ.get("LASTTOUCH_COUNTRY_HEADER", "").strip().lower()
    if name and name not in COUNTRY_HEADERS:
        raise SettingError(f"LASTTOUCH_COUNTRY_HEADER={name!r} is not known; give one of {', '.join(COUNTRY_HEADERS)}")
    if name and not environ.get("LASTTOUCH_TRUSTED_PROXIES"):
        raise SettingError("LASTTOUCH_COUNTRY_HEADER needs LASTTOUCH_TRUSTED_PROXIES: nobody else is believed")
    return name


def _countries(environ: Mapping[str, str]) -> str:
    source = environ.get("LASTTOUCH_COUNTRIES") or BUNDLED
    if source in (BUNDLED, OFF):
        return source
    path = str(Path(source).expanduser().resolve())
    open_countries(path)
    return path
