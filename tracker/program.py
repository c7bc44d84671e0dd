"""The partner program as configured: products, rates, window, deals (`program.toml`).

The dataclasses' defaults are LiveChat's program, so that a program file names only what differs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tracker.errors import SettingError

DAY_MS = 86_400_000
MAX_WINDOW_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Product:
    """Something with a site that partners send people to.

    `url` is the absolute home page; `hosts` are the hosts of its site, with a port where it is not the scheme's own.
    """

    key: str
    name: str
    url: str
    hosts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Coupon:
    """A discount that a campaign or a solution license may carry (R21). `partners` is None for all of them."""

    id: int
    label: str
    discount_percent: int
    partners: frozenset[str] | None

    def usable_by(self, partner_id: str) -> bool:
        return self.partners is None or partner_id in self.partners


def _product(key: str, name: str, url: str, *hosts: str) -> Product:
    return Product(key, name, url, frozenset({urlsplit(url).netloc.lower(), *(host.lower() for host in hosts)}))


_LIVECHAT_PRODUCTS = {
    "livechat": _product("livechat", "LiveChat", "https://www.livechat.com/", "livechat.com"),
    "partner_program": _product("partner_program", "Partner Program", "https://partners.livechat.com/"),
}


@dataclass(frozen=True, slots=True)
class Program:
    """The rules' settings. Percents are in hundredths of a percent (2000 is 20 %), so that money stays integer."""

    name: str = "LiveChat Partner Program"
    currency: str = "USD"
    default_product: str = "livechat"
    window_days: int = 120
    first_tier_percent_hundredths: int = 2000
    second_tier_percent_hundredths: int = 500
    allow_self_referral: bool = False
    minimum_withdrawal_cents: int = 5000
    honor_gpc: bool = True
    honor_dnt: bool = True
    trial_days_default: int = 14
    trial_days_max: int = 60
    products: Mapping[str, Product] = field(default_factory=lambda: dict(_LIVECHAT_PRODUCTS))
    data_centers: Mapping[str, str] = field(default_factory=lambda: {"us-south1": "USA", "eu-west3": "European Union"})
    coupons: tuple[Coupon, ...] = (Coupon(1, "10% off for a year", 10, None),)

    hosts: frozenset[str] = field(init=False)
    """Every host of the program, lower-case: the only ones that a redirect may lead to."""

    def __post_init__(self) -> None:
        hosts: frozenset[str] = frozenset().union(*(product.hosts for product in self.products.values()))
        object.__setattr__(self, "hosts", hosts)

    @property
    def window_ms(self) -> int:
        return self.window_days * DAY_MS

    @property
    def default_data_center(self) -> str:
        return next(iter(self.data_centers))


def percent_hundredths(value: object) -> int:
    """20 → 2000, 12.5 → 1250. Raises ValueError unless it is a number from 0 to 100 with at most two decimals."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("must be a number from 0 to 100")
    try:
        hundredths = Decimal(str(value)) * 100
    except InvalidOperation:
        raise ValueError("must be a number from 0 to 100") from None
    if not hundredths.is_finite() or not 0 <= hundredths <= 10_000:
        raise ValueError("must be a number from 0 to 100")
    if hundredths != int(hundredths):
        raise ValueError("must have at most two decimals")
    return int(hundredths)


def percent_number(hundredths: int) -> int | float:
    """2000 → 20, 1250 → 12.5: a percent as JSON shows it."""
    return hundredths // 100 if hundredths % 100 == 0 else hundredths / 100


def load_program(path: Path | None) -> Program:
    """The program in a TOML file, or LiveChat's without one. Raises SettingError that names the key and the mend."""
    if path is None:
        return Program()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"LASTTOUCH_PROGRAM: cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"LASTTOUCH_PROGRAM: {path} is not valid TOML: {error}") from None
    return parse_program(document, str(path))


def parse_program(document: Mapping[str, Any], source: str) -> Program:
    """A parsed TOML document as a Program. `source` goes into the messages."""
    known = {"program", "products", "data_centers", "privacy", "deals", "coupons"}
    if unknown := sorted(set(document) - known):
        raise SettingError(f"{source}: unknown section [{unknown[0]}]; known are {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for section in ("program", "privacy", "deals"):
        values.update(_scalars(document.get(section, {}), section, source))
    if "products" in document:
        values["products"] = {key: _read_product(key, table, source) for key, table in document["products"].items()}
    if "data_centers" in document:
        values["data_centers"] = {str(key): str(name) for key, name in document["data_centers"].items()}
    if "coupons" in document:
        values["coupons"] = tuple(_read_coupon(table, source) for table in document["coupons"])
    program = Program(**values)
    for required in ("livechat", "partner_program", program.default_product):
        if required not in program.products:
            raise SettingError(f"{source}: [products.{required}] is missing")
    if not program.data_centers:
        raise SettingError(f"{source}: [data_centers] must name at least one")
    if not 1 <= program.window_days <= MAX_WINDOW_DAYS:
        raise SettingError(f"{source}: [program] window_days must be from 1 to {MAX_WINDOW_DAYS}")
    return program


_SECTION_KEYS = {
    "program": {
        "name", "currency", "default_product", "window_days", "first_tier_percent", "second_tier_percent",
        "allow_self_referral", "minimum_withdrawal_cents",
    },
    "privacy": {"honor_gpc", "honor_dnt"},
    "deals": {"trial_days_default", "trial_days_max"},
}  # fmt: skip


def _scalars(table: Mapping[str, Any], section: str, source: str) -> dict[str, Any]:
    types = {item.name: item.type for item in fields(Program)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{source}: [{section}] {key}"
        if key not in _SECTION_KEYS[section]:
            raise SettingError(f"{where} is not a setting; known are {', '.join(sorted(_SECTION_KEYS[section]))}")
        if key.endswith("_percent"):
            try:
                values[f"{key}_hundredths"] = percent_hundredths(value)
            except ValueError as error:
                raise SettingError(f"{where} {error}") from None
        elif type(value).__name__ != types[key] or (type(value) is int and value < 0):
            raise SettingError(f"{where} must be {types[key]}{' and not negative' if types[key] == 'int' else ''}")
        else:
            values[key] = value
    return values


def _read_product(key: str, table: Mapping[str, Any], source: str) -> Product:
    url = str(table.get("url", ""))
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingError(f"{source}: [products.{key}] url must be an absolute http(s) URL")
    return _product(key, str(table.get("name", key)), url, *map(str, table.get("hosts", [])))


def _read_coupon(table: Mapping[str, Any], source: str) -> Coupon:
    try:
        partners = table.get("partners", "all")
        return Coupon(
            int(table["id"]),
            str(table["label"]),
            int(table["discount_percent"]),
            None if partners == "all" else frozenset(map(str, partners)),
        )
    except (KeyError, TypeError, ValueError):
        raise SettingError(f"{source}: a coupon needs id, label and discount_percent") from None
