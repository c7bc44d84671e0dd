"""The cast of the example program: partners, browsers, sites. All invented; mail addresses are of reserved domains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExamplePartner:
    """A partner of the example. `recruiter` is the Partner ID of who brought them; empty for nobody.

    `joined_day` counts from the first day of the history; `pull` is clicks a day once they are known;
    `conversion` is the share of human clicks that become trials.
    """

    partner_id: str
    name: str
    email: str
    recruiter: str
    joined_day: int
    pull: float
    conversion: float
    countries: tuple[str, ...]
    campaigns: tuple[str, ...] = ()
    referrer: str = ""


PARTNERS = (
    ExamplePartner("W-5ZzZyiR", "Hanna Lindqvist", "hanna@nordic-cx.example.com", "", 0, 11.0, 0.028,
                   ("SE", "NO", "DK", "FI"), ("pp_nordic-guide", "pp_black-week"), "https://nordic-cx.example.com/"),
    ExamplePartner("K-8tQmV2a", "Marco Bellini", "marco@bellini-digital.example.com", "", 0, 9.0, 0.024,
                   ("IT", "CH"), ("pp_shop-assistenza",), "https://bellini-digital.example.com/blog"),
    ExamplePartner("B-Xr40LpD", "SupportStack Reviews", "deals@supportstack.example.org", "", 2, 16.0, 0.018,
                   ("US", "CA", "GB", "AU"), ("pp_best-live-chat", "pp_tawk-vs-livechat", "pp_newsletter"),
                   "https://supportstack.example.org/reviews"),
    ExamplePartner("T-0vNcJ7w", "Agnieszka Wrona", "a.wrona@ecomlab.example.net", "", 5, 8.0, 0.031,
                   ("PL", "CZ"), ("pp_sklep-2x",), "https://ecomlab.example.net/"),
    ExamplePartner("M-3hGk9Ye", "Diego Navarro", "diego@navarro-commerce.example.com", "B-Xr40LpD", 12, 7.0, 0.027,
                   ("ES", "MX", "AR", "CO"), ("pp_tienda-online",), "https://navarro-commerce.example.com/"),
    ExamplePartner("R-Wd6sUf1", "Priya Raman", "priya@saasdigest.example.com", "", 15, 9.5, 0.021,
                   ("IN", "SG", "AE"), ("pp_saas-digest", "pp_webinar-cx"), "https://saasdigest.example.com/tools"),
    ExamplePartner("H-2bQxPzo", "Tom Ashworth", "tom@ashworth-web.example.org", "W-5ZzZyiR", 20, 4.0, 0.035,
                   ("GB", "IE"), (), "https://ashworth-web.example.org/"),
    ExamplePartner("D-m7RtEa5", "Claire Fontaine", "claire@atelier-client.example.com", "", 24, 6.0, 0.026,
                   ("FR", "BE", "CH"), ("pp_relation-client",), "https://atelier-client.example.com/"),
    ExamplePartner("P-9cYw2Kh", "Jonas Weber", "jonas@weber-shopware.example.net", "T-0vNcJ7w", 31, 6.5, 0.029,
                   ("DE", "AT"), ("pp_shopware-chat", "pp_black-week"), "https://weber-shopware.example.net/"),
    ExamplePartner("V-LqZ81nB", "CouponHarbour", "hello@couponharbour.example.org", "", 33, 12.0, 0.009,
                   ("US", "GB"), ("pp_coupon",), "https://couponharbour.example.org/livechat"),
    ExamplePartner("F-4kSj0Xt", "Lucía Ferrer", "lucia@ferrer-estudio.example.com", "M-3hGk9Ye", 40, 3.5, 0.030,
                   ("ES", "PT"), (), "https://ferrer-estudio.example.com/"),
    ExamplePartner("G-yU5oCmR", "Kenji Morita", "kenji@tokyo-saas.example.net", "R-Wd6sUf1", 47, 5.0, 0.022,
                   ("JP",), ("pp_cx-tokyo",), "https://tokyo-saas.example.net/"),
    ExamplePartner("S-1wVfT6d", "Bright Desk Agency", "team@brightdesk.example.com", "", 52, 5.5, 0.038,
                   ("US", "CA"), ("pp_agency-bundle",), "https://brightdesk.example.com/"),
    ExamplePartner("N-ePz3Hq9", "Oluwaseun Adeyemi", "seun@lagoscommerce.example.org", "B-Xr40LpD", 58, 4.5, 0.020,
                   ("NG", "GH", "KE"), ("pp_sell-more",), "https://lagoscommerce.example.org/"),
    ExamplePartner("C-7sBx4Lk", "Mirela Popescu", "mirela@webcraft-cluj.example.com", "T-0vNcJ7w", 64, 3.0, 0.026,
                   ("RO", "HU"), (), "https://webcraft-cluj.example.com/"),
    ExamplePartner("Y-Ga9nW0v", "Sofia Almeida", "sofia@lojapro.example.net", "M-3hGk9Ye", 70, 5.0, 0.024,
                   ("BR", "PT"), ("pp_loja-pro",), "https://lojapro.example.net/"),
    ExamplePartner("J-r2KdQ5i", "Ethan Brooks", "ethan@brooksbuilds.example.com", "S-1wVfT6d", 76, 4.0, 0.031,
                   ("US",), ("pp_youtube-setup",), "https://www.youtube.com/"),
    ExamplePartner("A-Tz6mFx8", "Noor van Dijk", "noor@klantgericht.example.org", "", 83, 4.5, 0.029,
                   ("NL", "BE"), ("pp_klantcontact",), "https://klantgericht.example.org/"),
    ExamplePartner("E-3pJc7Uy", "Helpdesk Atlas", "editor@helpdeskatlas.example.com", "B-Xr40LpD", 90, 10.0, 0.017,
                   ("US", "GB", "IN", "PH"), ("pp_atlas-top-10", "pp_black-week"),
                   "https://helpdeskatlas.example.com/top-10"),
    ExamplePartner("Z-0hNv8Re", "Katarzyna Zielińska", "kasia@studio-zielen.example.net", "P-9cYw2Kh", 97, 2.5, 0.033,
                   ("PL",), (), "https://studio-zielen.example.net/"),
    ExamplePartner("X-Bq1yL4s", "Ahmed Farouk", "ahmed@cairo-ecom.example.com", "R-Wd6sUf1", 108, 3.5, 0.021,
                   ("EG", "SA", "AE"), ("pp_store-chat",), "https://cairo-ecom.example.com/"),
    ExamplePartner("Q-5dWk2Mo", "Emma Kowalski", "emma@growthnotes.example.org", "S-1wVfT6d", 115, 5.5, 0.025,
                   ("US", "DE", "PL"), ("pp_growth-notes",), "https://growthnotes.example.org/"),
    ExamplePartner("L-x8CtV3f", "Pixel & Pine", "studio@pixelandpine.example.com", "H-2bQxPzo", 124, 3.0, 0.034,
                   ("GB",), (), "https://pixelandpine.example.com/"),
    ExamplePartner("U-6nRg0Zb", "Matteo Rinaldi", "matteo@rinaldi-lab.example.net", "K-8tQmV2a", 133, 3.5, 0.027,
                   ("IT",), ("pp_prova-gratis",), "https://rinaldi-lab.example.net/"),
    ExamplePartner("W-9jXe5Pa", "Linh Tran", "linh@saigon-digital.example.org", "G-yU5oCmR", 145, 4.0, 0.019,
                   ("VN", "TH"), ("pp_ban-hang",), "https://saigon-digital.example.org/"),
    ExamplePartner("K-2mQs7Hd", "Freelance Toolbox", "mail@freelancetoolbox.example.com", "", 156, 6.0, 0.015,
                   ("US", "GB", "CA", "AU"), ("pp_toolbox",), "https://freelancetoolbox.example.com/chat"),
    ExamplePartner("D-4vLz1Nw", "Ingrid Haugen", "ingrid@haugen-handel.example.net", "W-5ZzZyiR", 168, 3.0, 0.032,
                   ("NO",), (), "https://haugen-handel.example.net/"),
    ExamplePartner("M-8rTf6Ck", "Daniel Okafor", "daniel@okafor-media.example.com", "N-ePz3Hq9", 181, 3.0, 0.023,
                   ("NG", "GB"), ("pp_creator",), "https://okafor-media.example.com/"),
    ExamplePartner("T-1yGb9Xj", "Yuki Tanabe", "yuki@tanabe-works.example.org", "G-yU5oCmR", 199, 3.5, 0.024,
                   ("JP", "TW"), (), "https://tanabe-works.example.org/"),
    ExamplePartner("R-7cPd3Vq", "Shop Doctor", "ask@shopdoctor.example.com", "E-3pJc7Uy", 214, 5.0, 0.026,
                   ("US", "AU"), ("pp_checkup",), "https://shopdoctor.example.com/"),
)  # fmt: skip

# Who does what is out of the ordinary.
SUSPENDED = "V-LqZ81nB"  # for self-made coupon sites; reinstated three weeks later
OWN_RATES = "B-Xr40LpD"  # 25 % first tier since its best quarter
RESELLERS = ("S-1wVfT6d", "T-0vNcJ7w", "D-m7RtEa5")  # create solution licenses

_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X)"
_IPAD = "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X)"
_BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
_WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"

BROWSERS = (
    f"{_WINDOWS} {_BLINK} Chrome/142.0.0.0 Safari/537.36",
    f"{_MAC} {_BLINK} Chrome/142.0.0.0 Safari/537.36",
    f"{_MAC} {_WEBKIT} Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    f"{_WINDOWS} {_BLINK} Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
    f"Mozilla/5.0 (X11; Linux x86_64) {_BLINK} Chrome/140.0.0.0 Safari/537.36",
    f"{_IPHONE} {_WEBKIT} Version/18.6 Mobile/15E148 Safari/604.1",
    f"Mozilla/5.0 (Linux; Android 10; K) {_BLINK} Chrome/142.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 14; SM-S921B) {_BLINK} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
    f"{_IPAD} {_WEBKIT} Version/17.7 Mobile/15E148 Safari/604.1",
)

BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "python-requests/2.32.3",
)

PLANS = (("starter", 2000), ("team", 4900), ("business", 7900))  # cents a seat and month
COMPANIES = (
    "Bramble Bikes", "Otter Coffee", "Kite & Co", "Marlow Interiors", "Sunny Paws", "Field Notes Travel",
    "Juniper Skin", "Harbor Tea", "Northlight Optics", "Copper Kettle", "Tiny Forest Toys", "Blue Door Dental",
    "Cedar Yoga", "Plum Print", "Atlas Tyres", "Velvet Vinyl", "Quiet Garden", "Foxglove Flowers",
    "Maple Mattress", "Stonebridge Legal",
)  # fmt: skip
