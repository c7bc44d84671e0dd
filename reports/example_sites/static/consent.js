// The consent bar of the pages under /eu/. linker.js there has `data-consent="required"`: until it hears
// `consent(true)` it keeps nothing in the browser. The choice itself is the site's to keep.
"use strict";

const bar = document.getElementById("consent");
const again = document.getElementById("consent-again");
const kept = document.cookie.split("; ").find((one) => one.startsWith("site_consent="));

function show(isOpen) {
  bar.hidden = !isOpen;
  again.hidden = isOpen;
}

function choose(isGiven) {
  document.cookie = `site_consent=${isGiven ? "yes" : "no"}; path=/; max-age=15552000; samesite=lax`;
  window.lasttouch?.consent(isGiven);
  show(false);
  again.focus();
}

document.getElementById("consent-yes").addEventListener("click", () => choose(true));
document.getElementById("consent-no").addEventListener("click", () => choose(false));
again.addEventListener("click", () => {
  show(true);
  document.getElementById("consent-yes").focus();
});
if (kept) window.lasttouch?.consent(kept === "site_consent=yes");
show(!kept);
