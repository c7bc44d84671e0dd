// Two conveniences. Every page works without them.
"use strict";

// Copy buttons: `data-copy` is the id of the element whose text is copied.
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
    } catch {
      // Without permission (or over plain http) the text is selected, so that one keystroke copies it.
      getSelection().selectAllChildren(source);
      done = "Press Ctrl+C";
    }
    const label = button.textContent;
    button.textContent = done;
    setTimeout(() => { button.textContent = label; }, 1600);
  });
}

// Commission lines unfold their chain in place; without JavaScript the link inside leads to a page with it.
for (const details of document.querySelectorAll("details[data-chain]")) {
  details.addEventListener("toggle", async () => {
    const place = details.querySelector("[data-place]");
    if (!details.open || place.dataset.place === "filled") return;
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(details.dataset.chain, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(String(answer.status));
      place.innerHTML = await answer.text();
      place.dataset.place = "filled";
    } catch {
      // The link stays and still works.
    }
    place.removeAttribute("aria-busy");
  });
}
