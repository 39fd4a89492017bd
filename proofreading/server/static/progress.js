// The bar of what was gained: expected run length (ERL), by me, today by all, and what is left.

import { get } from "./api.js";
import { byId } from "./dom.js";
import { count, length } from "./units.js";

const EVERY_MS = 10000;

/** Keeps the bar up to date; gives a function that does so at once. */
export function watchProgress() {
  let isAsking = false;

  async function update() {
    if (isAsking) return;
    isAsking = true;
    try {
      draw(await get("/api/progress"));
    } catch {
      // Shown by the banner; the next time comes.
    } finally {
      isAsking = false;
    }
  }

  setInterval(() => document.hidden || update(), EVERY_MS);
  return update;
}

function draw(found) {
  const { gained_by_me_nm: mine, gained_today_nm: today, left_nm: left } = found;
  byId("gain-me").textContent = `+${length(mine)}`;
  byId("gain-today").textContent = `+${length(today)}`;
  byId("gain-left").textContent = length(left);
  const whole = Math.max(today, mine) + left || 1;
  const share = Math.max(0, Math.min(1, today / whole));
  byId("gain-bar").style.setProperty("--share", `${(100 * share).toFixed(1)}%`);
  byId("gain-bar").setAttribute("aria-valuenow", String(Math.round(100 * share)));
  byId("newer").hidden = !found.newer_agglomeration;
  byId("answered").textContent = count(found.answered_by_me);
  byId("open").textContent = count(found.open);
  const kinds = { join: "joins", refused: "joins of two cell bodies", merger: "cuts", end: "ends" };
  const words = Object.entries(found.by_kind).map(([kind, number]) => `${count(number)} ${kinds[kind] ?? kind}`);
  byId("open").parentElement.title = words.join(", ");
}
