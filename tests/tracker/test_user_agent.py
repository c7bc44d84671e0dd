"""Who is a person and who is a program, by the user agent alone."""

# ruff: noqa: E501 (a user agent is as long as it is)

from __future__ import annotations

import sys
import time

import pytest
from crawlerdetect.providers import crawlers
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from tracker import user_agent
from tracker.user_agent import MAX_USER_AGENT, read_user_agent

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
IOS = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {IOS}"
ANDROID = (
    f"Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP2A.240605.024; wv) {WEBKIT} Version/4.0 Chrome/126.0.6478.71"
)

DESKTOPS = (
    CHROME,
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Chrome/125.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/124.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/126.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Windows NT 6.1; Win64; x64) {WEBKIT} Chrome/109.0.0.0 Safari/537.36",
    f"{CHROME} Edg/126.0.2592.87",
    f"{CHROME} OPR/111.0.0.0",
    f"{CHROME} Vivaldi/6.7.3329.41",
    f"{CHROME} OPR/110.0.0.0 (Edition Yx GX)",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/124.0.0.0 YaBrowser/24.6.0 Yowser/2.5 Safari/537.36",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/122.0.6261.95 Whale/3.25.232.19 Safari/537.36",
    f"Mozilla/5.0 (Windows NT 10.0; WOW64) {WEBKIT} Chrome/86.0.4240.198 Safari/537.36 QIHU 360SE",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Chrome/126.0.0.0 Safari/537.36 DuckDuckGo/7",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0",
    "Mozilla/5.0 (X11; Linux i686; rv:115.0) Gecko/20100101 Firefox/115.0",
    "Mozilla/5.0 (Windows NT 6.1; rv:102.0) Gecko/20100101 Goanna/6.7 Firefox/102.0 PaleMoon/33.1.1",
    "Mozilla/5.0 (Windows NT 10.0; rv:102.0) Gecko/20100101 Firefox/102.0 Waterfox/102.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:91.0) Gecko/20100101 Firefox/91.0 SeaMonkey/2.53.18",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {IOS} Version/17.5 Safari/605.1.15",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_13_6) {IOS} Version/13.1.2 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
    "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; .NET CLR 2.0.50727; Supplied by Tesco.net)",
    "Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/126.0.0.0 Safari/537.36 Avast/126.0.25496.127",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/108.0.0.0 Safari/537.36 Teams/24124.2315.2911.3357",
    f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Ubuntu Chromium/80.0.3987.87 Chrome/80.0.3987.87 Safari/537.36",
    "Mozilla/5.0 (X11; FreeBSD amd64; rv:127.0) Gecko/20100101 Firefox/127.0",
)
MOBILES = (
    f"{IPHONE} Version/17.5 Mobile/15E148 Safari/604.1",
    f"{IPHONE} CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1",
    f"{IPHONE} FxiOS/127.1 Mobile/15E148 Safari/605.1.15",
    f"{IPHONE} EdgiOS/125.0.2535.96 Version/17.0 Mobile/15E148 Safari/604.1",
    f"{IPHONE} GSA/322.0.642 Mobile/15E148 Safari/604.1",
    f"{IPHONE} Version/17.5 Mobile/15E148 DuckDuckGo/7 Safari/605.1.15",
    f"{IPHONE} Version/17.5 Mobile/15E148 Safari/604.1 OPT/4.7.0",
    f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/468.0.0.38;FBBV/613;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBLC/en_GB;FBOP/5]",
    f"{IPHONE} Mobile/15E148 Instagram 336.0.8.26 (iPhone15,2; iOS 17_5_1; en_US; en; scale=3.00; 1179x2556; 611693537)",
    f"{IPHONE} Mobile/15E148 Safari Line/14.8.0",
    f"{IPHONE} Mobile/15E148 Snapchat/12.89.0.40 (like Safari/8618.2.12.10.9, panda)",
    f"{IPHONE} Mobile/15E148 musical_ly_35.1.0 JsSdk/2.0 NetType/WIFI Channel/App Store ByteLocale/en Region/US",
    f"{IPHONE} Mobile/15E148 [LinkedInApp]/9.29.7763",
    f"{IPHONE} Mobile/15E148 Twitter for iPhone/10.47",
    f"{IPHONE} Mobile/15E148 [Pinterest/iOS]",
    f"{IPHONE} Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/4G Language/en",
    f"{IPHONE} Mobile/21F90 KAKAOTALK 10.8.3",
    f"{IPHONE} Version/18.4 Mobile/15E148 Safari/605.1.15 (Ecosia ios@11.0.2.2268)",
    f"{IPHONE} Mobile/15E148 NAVER(inapp; search; 2000; 12.8.4; 15PRO)",
    f"{ANDROID} Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/469.0.0.47.108;IABMV/1;]",
    f"{ANDROID} Mobile Safari/537.36 Instagram 406.0.0.58.159 Android (35/15; 480dpi; 1080x2400; OPPO; en_MY; 822918295)",
    f"{ANDROID} Mobile Safari/537.36 Line/14.9.1/IAB",
    f"{ANDROID} Mobile Safari/537.36 trill_2023507030 JsSdk/1.0 NetType/WIFI BytedanceWebview/d8a21c6",
    f"{ANDROID} Mobile Safari/537.36 MetaIAB Facebook",
    f"{ANDROID} Mobile Safari/537.36 GoogleApp/15.24.31.28.arm64",
    f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 13; M2101K6G) {WEBKIT} Chrome/112.0.5615.136 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14.8",
    f"Mozilla/5.0 (Linux; Android 12; ANA-NX9) {WEBKIT} Chrome/114.0.5735.196 HuaweiBrowser/15.0.3.301 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; U; Android 11; en-US; RMX2185) {WEBKIT} Version/4.0 Chrome/100.0 UCBrowser/13.4.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36 EdgA/125.0.0.0",
    f"Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) {WEBKIT} Chrome/99.0.4844.73 Mobile Safari/537.36",
    "Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0",
    "Opera/9.80 (Android; Opera Mini/62.5.2254/191.310; U; en) Presto/2.12.423 Version/12.16",
    "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/191.310; U; en) Presto/2.12.423 Version/12.16",
    "Nokia6300/2.0 (07.21) Profile/MIDP-2.0 Configuration/CLDC-1.1",
    f"Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) {WEBKIT} Gecko/48.0 Firefox/48.0 KAIOS/2.5",
)
TABLETS = (
    f"Mozilla/5.0 (iPad; CPU OS 16_7 like Mac OS X) {IOS} Version/16.6 Mobile/15E148 Safari/604.1",
    f"Mozilla/5.0 (Linux; Android 13; SM-X900) {WEBKIT} Chrome/126.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 9; KFMAWI) {WEBKIT} Silk/122.5.1 like Chrome/122.0.6261.140 Safari/537.36",
)
PROGRAMS = (
    "", " ", "-", "Mozilla/5.0", "Mozilla/5.0 (compatible)",
    "curl/8.6.0", "Wget/1.21.4", "python-requests/2.32.3", "Python-urllib/3.11", "python-httpx/0.27.0", "aiohttp/3.9.5",
    "Go-http-client/2.0", "okhttp/4.12.0", "axios/1.7.2", "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", "undici",
    "Java/17.0.11", "Apache-HttpClient/4.5.14 (Java/17.0.11)", "libwww-perl/6.77", "Ruby", "Faraday v2.9.2", "GuzzleHttp/7",
    "PostmanRuntime/7.39.0", "insomnia/9.2.0", "reqwest/0.12", "Dart/3.4 (dart:io)", "HTTPie/3.2.2", "lua-resty-http/0.17",
    "WhatsApp/2.24.13.77 A", "Viber", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Twitterbot/1.0",
    "Slack-ImgProxy (+https://api.slack.com/robots)", "TelegramBot (like TwitterBot)", "LinkedInBot/1.0 (compatible; Mozilla/5.0)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "meta-externalagent/1.1", "facebookcatalog/1.0",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "Pinterest/0.2 (+https://www.pinterest.com/bot.html)",
    f"Mozilla/5.0 (Windows NT 6.1; WOW64) {WEBKIT} Chrome/51.0.2704.103 Safari/537.36 SkypeUriPreview Preview/0.5",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 "
    "facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    "Iframely/1.3.1 (+https://iframely.com/docs/about)", "Embedly/0.2", "Mastodon/4.2.9 (http.rb/5.1.1; +https://mastodon.social/)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot-Image/1.0", "AdsBot-Google",
    f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) {WEBKIT} Chrome/126.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "DuckDuckBot/1.1", "Baiduspider+",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "Mozilla/5.0 (compatible; Yahoo! Slurp)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "Mozilla/5.0 (compatible; SemrushBot/7~bl)",
    "Mozilla/5.0 (compatible; MJ12bot/v1.4.8)", "Mozilla/5.0 (compatible; DotBot/1.2)", "CCBot/2.0", "Bytespider", "ia_archiver",
    f"Mozilla/5.0 {WEBKIT[:-1]}; compatible; GPTBot/1.2; +https://openai.com/gptbot)", "ClaudeBot/1.0", "anthropic-ai",
    f"Mozilla/5.0 {WEBKIT[:-1]}; compatible; Perplexity-User/1.0; +https://perplexity.ai/perplexity-user)",
    f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/126.0.0.0 Safari/537.36", f"{CHROME} Playwright/1.45",
    "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
    f"{CHROME}; Selenium", f"{CHROME} Cypress/13.12", f"{CHROME} Chrome-Lighthouse", f"{CHROME} PTST/240625",
    f"{CHROME} NewRelicSynthetics/1.0", f"{CHROME} (Checkly, https://www.checklyhq.com)", f"{CHROME} Prerender (+prerender.io)",
    "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", "Mozilla/5.0+(compatible; UptimeRobot/2.0)", "Datadog/Synthetics",
    "Site24x7", "Better Uptime Bot", "StatusCake", "GoogleStackdriverMonitoring-UptimeChecks", "Amazon CloudFront", "HTTP-Monitor",
    "Feedly/1.0 (+http://www.feedly.com/fetcher.html)", "FeedFetcher-Google", "NewsBlur Feed Fetcher", "Tiny Tiny RSS/22.04",
    "Mozilla/5.0 (compatible; Nobody Listed This/1.0; +https://nobody.example/)", "SafeLinksChecker/3", "l9explore/1.2.2",
    "com.apple.WebKit.Networking/8618.2.12 CFNetwork/1496.0.7 Darwin/23.5.0", "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
    "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A.240605.024)",
)  # fmt: skip


def test_no_common_browser_is_taken_for_a_program() -> None:
    people = (*DESKTOPS, *MOBILES, *TABLETS)
    assert len(set(people)) >= 60
    assert [text for text in people if read_user_agent(text).is_bot] == []


def test_programs_are_found_whether_listed_anywhere_or_not() -> None:
    assert [text for text in PROGRAMS if not read_user_agent(text).is_bot] == []


@pytest.mark.parametrize(("device", "texts"), [("desktop", DESKTOPS), ("mobile", MOBILES), ("tablet", TABLETS)])
def test_devices(device: str, texts: tuple[str, ...]) -> None:
    assert [text for text in texts if read_user_agent(text).device != device] == []


def test_families() -> None:
    assert read_user_agent(CHROME)[2:] == ("Chrome", "Windows")
    assert read_user_agent(MOBILES[0])[2:] == ("Mobile Safari", "iOS")
    assert read_user_agent("curl/8.6.0").device == "other"


def test_ninety_nine_of_a_hundred_known_crawlers_are_found() -> None:
    """A public list that neither of the two in use is made from."""
    known = {text[:MAX_USER_AGENT] for crawler in CRAWLER_USER_AGENTS_DATA for text in crawler.get("instances", [])}
    assert len(known) > 2_000
    found = sum(read_user_agent(text).is_bot for text in known)
    assert found / len(known) >= 0.99


@pytest.mark.parametrize("broken", ["no engine", "a pattern that the engine refuses"])
def test_the_slow_way_of_searching_crawlers_finds_the_same(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = user_agent._crawler_search()
    if broken == "no engine":
        monkeypatch.setitem(sys.modules, "ua_parser_rs", None)
    else:
        monkeypatch.setattr(crawlers, "data", [*crawlers.data, r"(same)\1"])
    slow = user_agent._crawler_search.__wrapped__()
    texts = [*PROGRAMS, *DESKTOPS, *MOBILES, *TABLETS, "YandexSearch", "a Yandex thing", " cubot "]
    assert slow is not fast and {slow(text) for text in texts} == {True, False}
    assert [text for text in texts if slow(text) != fast(text)] == []


HOSTILE = (
    "compatible" + " " * 500, "compatible" + " ;" * 250, "a@" * 256, "@" * 500, "a-" * 250 + ".", "-" * 500, "com.a" + ".b" * 250,
    "MSIE a(" * 70, "M bot " * 80, "1." * 250, ";" * 500, "SM-G" * 125, "CPU iPhone OS " + "1_" * 240, "like Gecko" * 50,
    "\u0130" * 500, "\0" * 500, "[FBAN/" * 80, "Linux; Android 14; " * 25, "Opera Mini/1." * 38,
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_no_string_takes_long_to_read(text: str) -> None:
    """Whoever sends strings that make patterns try everything holds up every other visitor of the worker."""
    taken = []
    for start in ("", "Mozilla/5.0 ", "Mozilla/5.0 (Linux; Android 14) "):
        for _ in range(3):
            started = time.thread_time()
            read_user_agent.__wrapped__((start + text)[:MAX_USER_AGENT])
            taken.append(time.thread_time() - started)
    assert max(min(taken[:3]), min(taken[3:6]), min(taken[6:])) < 0.005
