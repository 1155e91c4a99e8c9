// Asks every 700 ms whether something changed and swaps the board in place; keeps scroll positions and folded parts.
"use strict";

const board = document.getElementById("board");
const live = document.getElementById("live");
const liveText = document.getElementById("live-text");
let seen = board.dataset.version;

function shown(root) {
  return new Map([...root.querySelectorAll("[data-key]")].map((item) => [item.dataset.key, item.dataset.version]));
}

function swap(html) {
  const before = shown(board);
  const scrolls = [...board.querySelectorAll(".column")].map((column) => column.scrollTop);
  const folds = new Map([...board.querySelectorAll("[data-open-key]")].map((item) => [item.dataset.openKey, item.open]));
  const next = new DOMParser().parseFromString(html, "text/html").body;
  board.replaceChildren(...next.childNodes);
  board.querySelectorAll("[data-open-key]").forEach((item) => {
    if (folds.has(item.dataset.openKey)) item.open = folds.get(item.dataset.openKey);
  });
  board.querySelectorAll(".column").forEach((column, index) => { column.scrollTop = scrolls[index] || 0; });
  board.querySelectorAll("[data-key]").forEach((item) => {
    if (before.get(item.dataset.key) !== item.dataset.version) item.classList.add("fresh");
  });
}

async function poll() {
  try {
    const answer = await fetch("/fragment?seen=" + encodeURIComponent(seen));
    if (answer.status === 200) {
      seen = answer.headers.get("X-Version");
      swap(await answer.text());
    }
    live.classList.remove("off");
    liveText.textContent = "live";
  } catch {
    live.classList.add("off");
    liveText.textContent = "the sandbox does not answer";
  }
  setTimeout(poll, 700);
}

setTimeout(poll, 700);
