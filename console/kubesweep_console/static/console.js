// Keeps a page current. Without it every page works, and shows the moment at which it was loaded.
//
// The server sends the version of its data every few seconds. If the version is another one, or the page is older than
// REREAD, the page is read again and #live is replaced. While the page is hidden, nothing is read.
"use strict";

const REREAD = 10000; // milliseconds: ages such as "5 s ago" change without new data
const body = document.body;
const interval = Number(body.dataset.interval) * 1000;
const stale = document.getElementById("stale");
let source = null;
let answered = Date.now(); // when the server was last heard
let read = Date.now(); // when #live was last replaced
let reading = false;
let shown = document.getElementById("live").innerHTML; // as the server sent it

function markStale() {
  // Either the server is silent, or it answers and the page itself cannot be read.
  const fresh = Math.min(answered, read + REREAD);
  const silent = Date.now() - fresh;
  const lost = !document.hidden && silent > 3 * interval + 2000;
  if (lost) {
    const since = new Date(fresh === answered ? answered : read).toLocaleTimeString();
    stale.textContent = `Stale data: nothing could be read since ${since}. Trying again.`;
  }
  stale.hidden = !lost;
  body.classList.toggle("stale", lost);
}

// What a person has opened or focused stays so. Elements are found again by their id, links by their address.
function replaceLive(next) {
  const live = document.getElementById("live");
  const focused = live.contains(document.activeElement) ? document.activeElement : null;
  const open = new Set([...live.querySelectorAll("details[open]")].map((each) => each.id));
  if (shown !== next.innerHTML) {
    shown = next.innerHTML;
    live.replaceChildren(...next.childNodes);
    live.querySelectorAll("details").forEach((each) => { each.open = open.has(each.id); });
    addCopyButtons(live);
    if (focused) {
      const links = [...live.querySelectorAll("a[href], summary, button")];
      const same = links.find((each) => each.outerHTML === focused.outerHTML) ?? links.find((each) => each.href && each.href === focused.href);
      same?.focus({ preventScroll: true });
    }
  }
}

async function readAgain() {
  if (reading || document.hidden) return;
  reading = true;
  const address = location.href;
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" }, redirect: "error" });
    if (answer.status >= 500) return; // the old numbers are better than none
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.getElementById("live");
    if (next && address === location.href) {
      replaceLive(next);
      document.querySelector("footer").replaceChildren(...page.querySelector("footer").childNodes);
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
