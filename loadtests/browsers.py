"""The browsers of the load: about five hundred distinct user agent strings in the forms that browsers send, and bots.

The strings are put together from the parts that vary in the wild (versions, systems, phone models), so they are many
and stay the same from run to run. The tracker must take each of BROWSERS for a person and each of CRAWLERS for a bot;
a test says so.
"""

from __future__ import annotations

from collections.abc import Iterator

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_DESKTOPS = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "X11; CrOS x86_64 14541.0.0",
)
_CHROMES = range(118, 144)
_FIREFOXES = range(115, 147)
_PHONES = (
    "Android 10; K",
    "Android 13; SM-A536B",
    "Android 14; SM-S918B",
    "Android 14; Pixel 8",
    "Android 15; Pixel 9 Pro",
    "Android 13; M2102J20SG",
    "Android 12; moto g(60)",
    "Android 14; CPH2581",
)
_IPHONES = ("16_6", "16_7_8", "17_0_3", "17_2", "17_4_1", "17_5_1", "17_6_1", "18_0", "18_1_1", "18_3", "18_5", "18_6")
_SAFARIS = (
    "16.6",
    "17.0",
    "17.2",
    "17.3.1",
    "17.4.1",
    "17.5",
    "17.6",
    "18.0",
    "18.1.1",
    "18.2",
    "18.3",
    "18.5",
    "26.0",
)


def _desktops() -> Iterator[str]:
    for system in _DESKTOPS:
        for version in _CHROMES:
            yield f"Mozilla/5.0 ({system}) {_WEBKIT} Chrome/{version}.0.0.0 Safari/537.36"
    for system in _DESKTOPS[:2]:
        for version in _CHROMES:
            chrome = f"Mozilla/5.0 ({system}) {_WEBKIT} Chrome/{version}.0.0.0 Safari/537.36"
            yield f"{chrome} Edg/{version}.0.0.0"
            yield f"{chrome} OPR/{version - 14}.0.0.0"
    for system in ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10.15", "X11; Ubuntu; Linux x86_64"):
        for version in _FIREFOXES:
            yield f"Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
    for safari in _SAFARIS:
        yield (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            f"Version/{safari} Safari/605.1.15"
        )


def _phones() -> Iterator[str]:
    for phone in _PHONES:
        for version in _CHROMES[-16:]:
            yield f"Mozilla/5.0 (Linux; {phone}) {_WEBKIT} Chrome/{version}.0.0.0 Mobile Safari/537.36"
    for version in range(20, 30):
        yield (
            f"Mozilla/5.0 (Linux; Android 10; K) {_WEBKIT} SamsungBrowser/{version}.0 "
            f"Chrome/{version + 92}.0.0.0 Mobile Safari/537.36"
        )
    for system in _IPHONES:
        apple = f"CPU iPhone OS {system} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
        number = system.replace("_", ".")
        yield f"Mozilla/5.0 (iPhone; {apple} Version/{number} Mobile/15E148 Safari/604.1"
        yield f"Mozilla/5.0 (iPhone; {apple} CriOS/138.0.7204.119 Mobile/15E148 Safari/604.1"
        yield (
            f"Mozilla/5.0 (iPhone; {apple} Mobile/15E148 [FBAN/FBIOS;FBAV/512.0.0.54.98;FBDV/iPhone14,5;"
            f"FBMD/iPhone;FBSN/iOS;FBSV/{number};FBSS/3;FBLC/en_US;FBOP/5]"
        )
        yield (
            f"Mozilla/5.0 (iPad; CPU OS {system} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            f"Version/{number} Mobile/15E148 Safari/604.1"
        )


BROWSERS: tuple[str, ...] = (*_desktops(), *_phones())

CRAWLERS: tuple[str, ...] = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.7204.100 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 "
    "Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Twitterbot/1.0",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "WhatsApp/2.23.20.0",
    "TelegramBot (like TwitterBot)",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    "curl/8.5.0",
    "python-requests/2.32.3",
    "Go-http-client/2.0",
)
