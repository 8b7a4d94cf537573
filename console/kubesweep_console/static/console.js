// Keeps a page current. Without it every page works, and shows the moment at which it was loaded.
//
// The server sends the version of its data every few seconds. If the version is another one, or the page is older than
// REREAD, the page is read again and what has changed in #live is replaced. While the page is hidden, nothing is read.
"use strict";

const REREAD = 10000; // milliseconds: ages such as "5 s ago" change without new data
const body = document.body;
const interval = Number(body.dataset.interval) * 1000;
const stale = document.getElementById("stale");
let source = null;
let answered = Date.now(); // when the server was last heard
let read = Date.now(); // when #live was last read
let reading = false;
let refused = ""; // why the server answers, but not with a page: after a restart the key is another one

function markStale() {
  // Either the server is silent, or it answers and the page itself cannot be read.
  const fresh = Math.min(answered, read + REREAD);
  const silent = Date.now() - fresh;
  const lost = !document.hidden && silent > 3 * interval + 2000;
  if (lost) {
    const since = new Date(fresh === answered ? answered : read).toLocaleTimeString();
    stale.textContent = `Stale data: nothing could be read since ${since}. ${refused || "Trying again."}`;
  }
  stale.hidden = !lost;
  body.classList.toggle("stale", lost);
}

// Two versions of a page have the same element if it has the same key: data-key, else the address of a link, else the id.
function keyOf(node) {
  return node.dataset?.key ?? node.getAttribute?.("href") ?? node.id ?? "";
}

// Gives `old` the content of `next`. Elements that are in both versions stay, and with them the focus, a selection, what is
// open, and a click that has begun.
function patch(old, next) {
  const wanted = new Set([...next.children].map(keyOf));
  for (const each of [...old.children]) if (!wanted.has(keyOf(each))) each.remove();
  let at = old.firstChild;
  for (const child of [...next.childNodes]) {
    let same = at;
    while (same && !(same.nodeName === child.nodeName && keyOf(same) === keyOf(child))) same = same.nextSibling;
    if (!same) old.insertBefore(child, at);
    else if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    if (!same) continue;
    if (child.nodeType !== Node.ELEMENT_NODE) {
      if (same.data !== child.data) same.data = child.data;
    } else if (!same.isEqualNode(child)) {
      patchAttributes(same, child);
      patch(same, child);
    }
  }
  while (at) { const rest = at; at = at.nextSibling; rest.remove(); }
}

function patchAttributes(old, next) {
  for (const { name } of [...old.attributes]) if (name !== "open" && !next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

function replaceLive(next) {
  const live = document.getElementById("live");
  const focused = live.contains(document.activeElement) ? document.activeElement : null;
  addCopyButtons(next);
  patch(live, next);
  if (live.contains(focused)) focused.focus({ preventScroll: true }); // an element that moves loses it
}

async function readAgain() {
  if (reading || document.hidden) return;
  reading = true;
  const address = location.href;
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" }, redirect: "error" });
    if (answer.status >= 500) return; // the old numbers are better than none
    const text = await answer.text();
    const page = new DOMParser().parseFromString(text, "text/html");
    const next = page.getElementById("live");
    refused = next ? "" : text.slice(0, 200);
    if (next && address === location.href) {
      replaceLive(next);
      patch(document.querySelector("footer"), page.querySelector("footer"));
      body.dataset.version = page.body.dataset.version;
      read = Date.now();
    }
  } catch {
    // The next event tries again; markStale says since when nothing was heard.
  } finally {
    reading = false;
  }
  if (address !== location.href) readAgain(); // the filter changed meanwhile
}

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(body.dataset.events);
  source.onmessage = (event) => {
    answered = Date.now();
    if (event.data !== body.dataset.version || answered - read > REREAD) readAgain();
  };
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again
    rest();
    readAgain(); // its answer says why
    setTimeout(listen, REREAD);
  };
}

function rest() {
  source?.close();
  source = null;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) rest();
  else { answered = read = Date.now(); listen(); readAgain(); }
});
// A page that the browser keeps for its Back button must not keep a connection.
window.addEventListener("pagehide", rest);
window.addEventListener("pageshow", listen);

function addCopyButtons(root) {
  if (!navigator.clipboard) return;
  for (const each of root.querySelectorAll(".command")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${each.textContent}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(each.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    each.append(button);
  }
}

// The filter acts while one types, and the address always shows it.
const filter = document.querySelector("form.filter");
if (filter) {
  let wait = 0;
  const apply = () => {
    const query = new URLSearchParams([...new FormData(filter)].filter(([, value]) => value));
    history.replaceState(null, "", `${filter.getAttribute("action")}${query.size ? `?${query}` : ""}`);
    readAgain();
  };
  filter.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(apply, 150); });
  filter.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(wait); apply(); });
  filter.querySelector("button").hidden = true;
}

addCopyButtons(document);
listen();
setInterval(markStale, 1000);
