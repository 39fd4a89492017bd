// The connection to the server: a banner while it does not answer, logging in again, logging out.

import { get, Refusal } from "./api.js";
import { page } from "./context.js";
import { ask, byId } from "./dom.js";
import { askWho } from "./login.js";

const PING_MS = 1500;

let away = false;
let isKeeping = false;
let pingLater = null;

/** Whether the server does not answer. */
export const isAway = () => away;

export async function logInAgain() {
  const who = await askWho();
  if (who.name !== page.me.name) location.reload();
}

export async function logOut() {
  const line = "They stay in this browser and are sent when you are back.";
  const choices = [["out", "Log out"], ["", "Stay"]];
  if (page.outbox?.size() && (await ask("Answers are still being sent", line, choices)) !== "out") return;
  await fetch("/api/session", { method: "DELETE", headers: { "X-Requested-By": "proofread" } }).catch(() => {});
  location.reload();
}

/** The server did not answer. */
export function onAway(line) {
  away = true;
  drawBanner(line);
  pingLater ??= setTimeout(ping, PING_MS);
}

/** Asks whether the server answers again, until it does. */
export async function ping() {
  clearTimeout(pingLater);
  pingLater = null;
  try {
    await get("/api/me");
  } catch (error) {
    if (!(error instanceof Refusal)) return;
    if (error.status === 401) logInAgain();
  }
  away = false;
  drawBanner();
  page.outbox?.retry();
  page.queue?.fill();
  page.updateProgress();
}

/** What is on its way to the server has changed. */
export function onOutbox(state) {
  isKeeping = state.away;
  document.body.dataset.waiting = String(state.waiting);
  byId("banner-aside").hidden = !state.isDefect;
  drawBanner(state.line || undefined);
}

function drawBanner(line = "the server does not answer") {
  const waiting = page.outbox?.size() ?? 0;
  const kept = `${waiting} ${waiting === 1 ? "answer is" : "answers are"} kept in this browser and will be sent.`;
  byId("banner").hidden = !away && !isKeeping;
  byId("banner-line").textContent = `No connection: ${line}. ${waiting ? kept : "Nothing is lost."} Trying again…`;
}
