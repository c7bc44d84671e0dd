// linker.js carries Partner IDs across the sites of a program. docs/linker.md is its manual, docs/adr/0010 says why it
// is as it is. The tracker takes out indents and lines that are remarks, so remarks stand on lines of their own.
((run) => {
  try {
    run();
  } catch {}
})(() => {
  "use strict";
  // {hosts, seconds, gpc, dnt}, put in by the tracker.
  const program = PROGRAM;

  // Content of a page can shadow names of its document and forms (<img name=cookie>, <input name=action>), and scripts
  // can put names on Object.prototype. So what matters is read from where the browser defines it.
  const property = (type, name) => Object.getOwnPropertyDescriptor(type.prototype, name);
  const ofDocument = (name) => property(Document, name).get.call(document);
  const baseOf = (node) => property(Node, "baseURI").get.call(node);
  const attribute = (element, name) => Element.prototype.getAttribute.call(element, name);
  const setAttribute = (element, name, value) => Element.prototype.setAttribute.call(element, name, value);
  const plain = (values) => ({ __proto__: null, ...values });
  // Whatever goes wrong here is no business of the page.
  const quietly = (act) => (given) => {
    try {
      return act(given);
    } catch {}
  };

  const script = ofDocument("currentScript");
  const tracker = new URL(script.src).origin;
  const domain = attribute(script, "data-cookie-domain");
  const needsConsent = attribute(script, "data-consent") === "required";

  const VISITOR = "lt_visitor";
  const PARTNER = "lt_partner";
  const STAMP = "lt_stamp";
  const SHAPES = plain({
    [VISITOR]: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
    [PARTNER]: /^[\w.-]{1,64}$/,
    [STAMP]: /^[\w-]{44}$/,
  });
  const STAMP_SECONDS = 86400;
  const FRESH_SECONDS = 5;
  const RESTORE_MS = 1000;

  const isOptedOut = (program.gpc && navigator.globalPrivacyControl) || (program.dnt && navigator.doNotTrack === "1");
  let isGranted = !needsConsent;
  let isRefused = false;
  let isAsking = false;
  // A landing that waits for consent: {partner, stamp, read, campaign, url, referrer}.
  let pending = null;

  // ── What this browser keeps: cookies, and memory where it takes none ──

  const memory = plain();

  const kept = (name) => {
    const cookies = quietly(ofDocument)("cookie") || "";
    for (const pair of [...cookies.split("; "), `${name}=${memory[name] || ""}`]) {
      const value = pair.slice(name.length + 1);
      if (pair.startsWith(name + "=") && SHAPES[name].test(value)) return value;
    }
    return null;
  };

  // No seconds: forget it.
  const keep = (name, value, seconds) => {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    const scope = domain ? "; Domain=" + domain : "";
    const text = `${name}=${value}; Max-Age=${seconds}; Path=/; SameSite=Lax${secure}${scope}`;
    delete memory[name];
    quietly(() => property(Document, "cookie").set.call(document, text))();
    if (seconds && kept(name) !== value) memory[name] = value;
  };

  const isAllowed = () => !isOptedOut && !isRefused && (isGranted || !!kept(VISITOR));
  const known = (name) => (isAllowed() ? kept(name) : null);

  const keepPartner = (partner) => keep(PARTNER, partner, program.seconds);
  const become = (visitor, stamp) => {
    keep(VISITOR, visitor, program.seconds);
    keep(STAMP, stamp, stamp ? STAMP_SECONDS : 0);
  };

  // ── Visitors and their stamps (tracker/visitors.py) ──

  const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const dashed = (hex) => hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");

  const newVisitor = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    return dashed(hexOf(bytes));
  };

  // Only the tracker can tell whether a stamp is genuine.
  const readStamp = quietly((stamp) => {
    if (!SHAPES[STAMP].test(stamp)) return null;
    const bytes = atob(stamp.replace(/-/g, "+").replace(/_/g, "/"));
    const hex = hexOf(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)));
    const seconds = parseInt(hex.slice(34, 42), 16) - Date.now() / 1000;
    return plain({ isOfLink: hex.startsWith("02"), visitor: dashed(hex.slice(2, 34)), seconds });
  });

  // The stamp to travel with, if it is this visitor's and valid for so long.
  const ownStamp = (seconds) => {
    const stamp = known(STAMP);
    const read = readStamp(stamp);
    return read && read.visitor === kept(VISITOR) && read.seconds > seconds ? stamp : "";
  };

  // What the tracker says, and the stamp of who the visitor is.
  const post = async (path, values) => {
    const body = JSON.stringify(plain(values));
    const how = plain({ method: "POST", body, credentials: "omit", keepalive: true });
    const { headers } = await fetch(tracker + path, how);
    const stamp = headers.get("X-Lasttouch-Stamp");
    return plain({ said: headers.get("X-Lasttouch"), stamp, read: readStamp(stamp) });
  };

  // Who travels later than a stamp lives gets a new one before.
  const refresh = quietly(() => {
    const visitor = known(VISITOR);
    if (isAsking || !visitor || !kept(PARTNER) || ownStamp(STAMP_SECONDS / 2)) return;
    isAsking = true;
    post("/touch/stamp", { visitor_id: visitor }).then(({ stamp, read }) => {
      isAsking = false;
      if (read && known(VISITOR) === visitor) become(visitor, stamp);
    }, quietly);
  });

  // ── Landing ──

  const hostOf = (url) => url && new URL(url).host;
  const isPair = (name) => (pair) => pair.startsWith(name + "=");
  const pairs = (query) => query.slice(1).split("&").filter((pair) => pair && !/^lt(=|$)/.test(pair));
  const parameter = quietly((name) => {
    const pair = location.search.slice(1).split("&").find(isPair(name));
    return decodeURIComponent(pair.slice(name.length + 1));
  });

  const clean = quietly(() => {
    if (!/[?&]lt(=|&|$)/.test(location.search)) return;
    const url = new URL(location.href);
    url.search = pairs(url.search).join("&");
    history.replaceState(history.state, "", url.href);
  });

  // A direct link lands once: not again by reloading, going back, or from page to page of the site.
  const isLanded = (referrer) => {
    const [navigation] = performance.getEntriesByType("navigation");
    const isAgain = /reload|back/.test(navigation && navigation.type) || hostOf(referrer) === location.host;
    return isAgain && !(needsConsent && !kept(PARTNER));
  };

  const land = quietly(() => {
    const partner = parameter("a");
    const referrer = ofDocument("referrer");
    const given = parameter("lt");
    const read = readStamp(given);
    // A hyperlink's stamp that comes from anywhere else was copied.
    const isCopy = !read || (read.isOfLink && !program.hosts.includes(hostOf(referrer)));
    const stamp = isCopy ? "" : given;
    if (!isOptedOut && SHAPES[PARTNER].test(partner || "") && (stamp || !isLanded(referrer))) {
      const campaign = pairs(location.search).find(isPair("utm_campaign"));
      pending = plain({ partner, stamp, read, campaign, url: location.href, referrer });
    }
    if (!pending || isAllowed()) bind();
  });

  // The landing becomes this browser's. A stamp is believed at once if it was made just now, unless a hyperlink brings
  // it to a browser that is somebody already. Then the tracker tells who the visitor is.
  const bind = () => {
    clean();
    if (!pending) return;
    const { partner, stamp, read, url, referrer } = pending;
    pending = null;
    const own = kept(VISITOR);
    const before = kept(PARTNER);
    const isSame = read && read.visitor === own;
    if (isSame && ownStamp(0)) {
      become(own, ownStamp(0));
      return keepPartner(partner);
    }
    const fallback = own && !isSame ? own : newVisitor();
    const isFresh = read && read.seconds > STAMP_SECONDS - FRESH_SECONDS;
    const isBelieved = stamp && (read.isOfLink ? !own : isFresh);
    if (isBelieved) become(read.visitor, stamp);
    else if (!stamp) become(fallback, ownStamp(0));
    if (isBelieved || !stamp) keepPartner(partner);
    const settle = quietly((answer) => {
      if (!isAllowed()) return;
      if (answer.read) become(answer.read.visitor, answer.stamp);
      else if (!isBelieved) become(kept(VISITOR) || fallback, ownStamp(0));
      if (/^(unknown|suspended)-/.test(answer.said)) {
        if (before && kept(PARTNER) === partner) keepPartner(before);
      } else if (answer.said !== "kept" && kept(PARTNER) === before) keepPartner(partner);
      tell();
    });
    const report = { visitor_id: fallback, partner_id: partner, url: url.slice(0, 2000) };
    post("/touch", { ...report, referrer: referrer.slice(0, 500), lt: stamp }).then(settle, settle);
  };

  // ── Links ──

  // Where to go instead of `url`; nothing where that is to be left alone.
  const decorated = (url, base, isCopy) => {
    const { partner, stamp, campaign } = pending || plain({ partner: known(PARTNER), stamp: ownStamp(0) });
    const target = new URL(url, base);
    const isPage = target.href.split("#")[0] === location.href.split("#")[0];
    const isHere = target.host === location.host && (!pending || isPage);
    if (!partner || isHere || !/^https?:$/.test(target.protocol) || !program.hosts.includes(target.host)) return;
    const query = pairs(target.search);
    if (query.some(isPair("a"))) return;
    if (campaign && !query.some(isPair("utm_campaign"))) query.push(campaign);
    query.push("a=" + partner);
    if (stamp && !isCopy) query.push("lt=" + stamp);
    target.search = query.join("&");
    return target;
  };

  const decorate = (element, name, isCopy) => {
    const before = attribute(element, name);
    const target = decorated(before || location.href, baseOf(element), isCopy);
    if (!target) return;
    setAttribute(element, name, target.href);
    setTimeout(() => attribute(element, name) === target.href && setAttribute(element, name, before || ""), RESTORE_MS);
    return target;
  };

  const isLink = (node) => node instanceof Element && /^(a|area)$/.test(node.localName) && attribute(node, "href");
  const linkOf = (event) => event.composedPath().find(isLink);

  // A menu may copy an address as well as open it. It gets no stamp, for a copy is for somebody else. The other site
  // must see where its visitor comes from, or it takes the stamp for copied.
  const follow = quietly((event) => {
    const link = linkOf(event);
    if (!link || !decorate(link, "href", event.type === "contextmenu")) return;
    setAttribute(link, "referrerpolicy", "origin");
    setAttribute(link, "rel", (attribute(link, "rel") || "").replace(/noreferrer/i, "noopener"));
  });

  const approach = quietly((event) => {
    event.composedPath().forEach(enter);
    if (event.type === "focusin") fill();
    const link = linkOf(event);
    if (link && decorated(attribute(link, "href"), baseOf(link))) refresh();
  });

  // ── Forms ──

  const roots = new Set([document]);
  const submitters = new WeakMap();

  const fill = quietly(() => {
    for (const root of roots) {
      const { prototype } = root === document ? Document : DocumentFragment;
      for (const input of prototype.querySelectorAll.call(root, `input[name=${VISITOR}],input[name=${PARTNER}]`)) {
        const value = known(input.name);
        if (value || isRefused) input.value = value || "";
      }
    }
  });

  // The element and attribute that say where a form goes, and whether its data become the query.
  const submission = (form) => {
    const submitter = submitters.get(form);
    const has = (name) => submitter && attribute(submitter, name) !== null;
    const method = has("formmethod") ? attribute(submitter, "formmethod") : attribute(form, "method");
    const isGet = !/^(post|dialog)$/i.test(method);
    return has("formaction") ? [isGet, submitter, "formaction"] : [isGet, form, "action"];
  };

  const submit = quietly(({ target, submitter }) => {
    fill();
    submitters.set(target, submitter);
    setTimeout(() => submitters.delete(target));
    const [isGet, element, name] = submission(target);
    if (!isGet) decorate(element, name);
  });

  // Whatever submits or reads a form makes its data here. A GET form's query is its data; the address of a POST form has
  // all, unless code submits it and tells nobody.
  const collect = quietly(({ target, formData }) => {
    for (const name of [VISITOR, PARTNER]) {
      if (formData.has(name) && known(name)) formData.set(name, known(name));
    }
    const [, element, name] = submission(target);
    const to = decorated(attribute(element, name) || location.href, baseOf(target));
    if (!to || formData.has("a")) return;
    for (const one of ["a", "lt"]) if (to.searchParams.has(one)) formData.set(one, to.searchParams.get(one));
  });

  // What forms tell does not leave a shadow root: one that the visitor enters is listened to as well.
  const enter = (node) => {
    if (node instanceof ShadowRoot && !roots.has(node)) {
      roots.add(node);
      listen(node);
      fill();
    }
  };
  const listen = (node) => {
    node.addEventListener("submit", submit, true);
    node.addEventListener("formdata", collect, true);
  };

  // ── What page code can do ──

  const tell = quietly(() => {
    fill();
    dispatchEvent(new CustomEvent("lasttouch"));
  });

  const consent = quietly((answer) => {
    if (answer === true) {
      isGranted = true;
      isRefused = false;
      bind();
    } else if (answer === false) {
      isRefused = true;
      pending = null;
      for (const name of [VISITOR, PARTNER, STAMP]) keep(name, "", 0);
      clean();
    }
    tell();
  });

  const travel = (url) => (quietly(() => decorated(url, baseOf(document)))() || url).toString();

  const start = quietly(() => {
    const value = Object.freeze({
      visitorId: () => known(VISITOR),
      partnerId: () => known(PARTNER),
      consent,
      decorate: travel,
      open: (url, ...how) => window.open(travel(url), ...how),
    });
    Object.defineProperty(window, "lasttouch", plain({ value }));
    for (const type of ["click", "auxclick", "contextmenu"]) addEventListener(type, follow, true);
    for (const type of ["pointerover", "pointerdown", "focusin"]) addEventListener(type, approach, true);
    listen(window);
    land();
    tell();
    addEventListener("DOMContentLoaded", fill);
    (window.requestIdleCallback || setTimeout)(refresh);
  });

  // One linker is enough; and a page that nobody sees yet has no visitor.
  if (quietly(() => typeof window.lasttouch.visitorId === "function")()) return;
  if (quietly(ofDocument)("prerendering")) addEventListener("prerenderingchange", start, true);
  else start();
});
