// Comfort only: every page works without this file.
"use strict";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

// Times without the day where that is today; all of a page are in UTC, as in messages and logs. The reader's own time is
// the tip.
function tellTimes(root) {
  const own = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
  const day = (at) => at.toISOString().slice(0, 10);
  for (const one of root.querySelectorAll("time[datetime]:not([data-told])")) {
    const at = new Date(one.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    one.title = `${own.format(at)} ${zone}`;
    one.dataset.told = "";
    const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "UTC" };
    if ("seconds" in one.dataset) options.second = "2-digit";
    if (day(new Date()) !== day(at)) Object.assign(options, { day: "numeric", month: "short" });
    // A column of times needs its zone only once: the foot of the page says it.
    const suffix = one.closest("td, .timeline") ? "" : " UTC";
    one.textContent = new Intl.DateTimeFormat("en-GB", options).format(at).replace(",", "") + suffix;
  }
  for (const one of document.querySelectorAll("[data-zone]")) {
    one.textContent = zone === "UTC" ? "UTC" : `UTC; point at one for ${zone}`;
  }
}

function offerCopies(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.onclick = async () => {
      const text = button.closest(".command").querySelector("code").textContent;
      try { await navigator.clipboard.writeText(text); } catch { return; }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    };
  }
}

// A box that hides the rows of a table in which its words do not stand.
function offerFilters(root) {
  for (const box of root.querySelectorAll("input[data-filters]")) {
    const table = document.getElementById(box.dataset.filters);
    const said = document.getElementById(`${box.dataset.filters}-said`);
    if (!table) continue;
    box.closest("[hidden]")?.removeAttribute("hidden");
    box.oninput = () => {
      const wanted = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !wanted.every((word) => text.includes(word));
        if (!row.hidden) shown += 1;
      }
      if (said) said.textContent = `${shown} shown`;
    };
  }
}

function dress(root) {
  tellTimes(root);
  offerCopies(root);
  offerFilters(root);
  for (const one of root.querySelectorAll("select[data-submits]")) one.onchange = () => one.form.requestSubmit();
}

// --- live ---

function fragment(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html; // of this server, escaped there; the page's policy lets nothing run
  return holder.content;
}

const FIELDS = "input:not([type=hidden]), textarea, select";

// Is somebody typing here, or is there something that was not sent?
function inUse(root) {
  const active = document.activeElement;
  if (active && active !== document.body && root.contains(active) && active.matches(FIELDS)) return true;
  return [...root.querySelectorAll(FIELDS)].some((one) => {
    if (one.matches("select")) return one.selectedIndex !== Math.max([...one.options].findIndex((o) => o.defaultSelected), 0);
    return one.matches("[type=checkbox], [type=radio]") ? one.checked !== one.defaultChecked : one.value !== one.defaultValue;
  });
}

let leaving = false; // a form is on its way
addEventListener("submit", () => { leaving = true; });
addEventListener("pageshow", () => { leaving = false; });

const SETTLES = 1000; // a press that takes the focus away is to reach what it is meant for

// Does something now, or as soon as nobody is typing; a link says meanwhile that there is news.
function whenFree(root, act) {
  let waits = false, offer = null;
  const look = () => {
    if (leaving || !waits || inUse(root)) return;
    waits = false;
    offer?.remove();
    offer = null;
    act();
  };
  document.addEventListener("focusout", () => { if (waits) setTimeout(look, SETTLES); });
  return () => {
    waits = true;
    look();
    if (!waits || offer) return;
    offer = document.createElement("p");
    offer.className = "notice";
    offer.setAttribute("role", "status");
    offer.append("There is news: ");
    const link = offer.appendChild(document.createElement("a"));
    link.href = location.pathname + location.search;
    link.textContent = "reload to see it";
    document.querySelector("main").prepend(offer);
  };
}

function listen(list) {
  const status = document.querySelector("[data-live-status]");
  const source = new EventSource(list.dataset.live);
  source.onopen = () => { if (status) status.textContent = "live"; };
  source.onerror = () => { if (status) status.textContent = "not live, trying again"; };
  const rows = () => [...list.querySelectorAll(":scope > [data-opened]")];
  source.addEventListener("story", (event) => {
    const { id, html, known, opened } = JSON.parse(event.data);
    const old = document.getElementById(`story-${id}`);
    const made = fragment(html);
    const row = made.firstElementChild;
    if (!row) { old?.remove(); return; }
    tellTimes(made);
    if (old) {
      const open = old.querySelector("details[open]") !== null;
      old.replaceWith(row);
      if (open) row.querySelector("details")?.setAttribute("open", "");
    } else if (list.dataset.first === "true" && !known) {
      // What is older belongs further down, or onto a later page: there it stands when that is loaded.
      const first = rows()[0];
      if (first && opened < Number(first.dataset.opened)) return;
      row.classList.add("new");
      list.prepend(row);
      document.querySelector("[data-empty]")?.remove();
    }
  });
  const anew = whenFree(document, () => location.reload());
  source.addEventListener("reload", anew);
  addEventListener("pagehide", () => source.close());
}

function follow(main) {
  const source = new EventSource(main.dataset.follow);
  let wanted = 0, asking = false;
  const anew = whenFree(main, async () => {
    if (asking) return;
    asking = true;
    const at = wanted;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const next = answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
      const fresh = next?.querySelector("[data-follow]");
      if (!fresh) return; // the next change tries again
      if (inUse(main)) { setTimeout(anew); return; } // somebody has begun to type
      const open = [...main.querySelectorAll("details[open][id]")].map((one) => one.id);
      main.replaceChildren(...fresh.childNodes);
      main.dataset.revision = fresh.dataset.revision;
      document.title = next.title;
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      dress(main);
    } catch {
      return; // the service is away: it says so when it is back
    } finally {
      asking = false;
      if (wanted > at) setTimeout(anew);
    }
  });
  source.addEventListener("story", (event) => {
    const { revision } = JSON.parse(event.data);
    if (revision <= Math.max(Number(main.dataset.revision), asking ? wanted : 0)) return;
    wanted = revision;
    anew();
  });
  source.addEventListener("reload", () => { wanted = Number(main.dataset.revision); anew(); });
  addEventListener("pagehide", () => source.close());
}

dress(document);
const list = document.querySelector("[data-live]");
if (list) listen(list);
const followed = document.querySelector("[data-follow]");
if (followed) follow(followed);
