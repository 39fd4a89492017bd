// What keys and buttons do.

import { answer, onPlace } from "./answering.js";
import { isTask, page } from "./context.js";
import { byId } from "./dom.js";
import { startJoin, startSplit, undoLast } from "./editing.js";
import { LAYOUTS } from "./ng_adapter.js";
import { back, look } from "./showing.js";

const ANSWERS = { y: "accept", n: "reject", u: "unknown", s: "skip" };
const BUTTONS = {
  "context-button": "c",
  "centre-button": "r",
  "layout-button": "l",
  "split-button": "t",
  "join-button": "j",
  "undo-button": "z",
  "history-button": "h",
  "help-button": "?",
};
const COMMANDS = {
  c: toggleContext,
  r: centre,
  l: nextLayout,
  v: () => page.viewer.turn(),
  t: startSplit,
  j: startJoin,
  z: undoLast,
  h: toggleHistory,
  m: () => byId("comment-field").hidden || byId("comment").focus(),
  "/": () => byId("search").select(),
  "?": () => byId("help").showModal(),
  ArrowLeft: () => page.viewer.step([0, 0, -1]),
  ArrowRight: () => page.viewer.step([0, 0, 1]),
  ArrowUp: () => page.viewer.step([0, -1, 0]),
  ArrowDown: () => page.viewer.step([0, 1, 0]),
  ",": () => page.viewer.step([-1, 0, 0]),
  ".": () => page.viewer.step([1, 0, 0]),
};

let context = true;
let layout = 0;

/** Does what a key stands for; gives whether it stands for anything. */
export function onKey(name) {
  if (!page.queue || document.querySelector("dialog[open]")) return false;
  if (name === "Escape" && page.history.isOpen()) return done(page.history.close());
  if (page.tool?.key(name)) return true;
  if (ANSWERS[name] && isTask()) return done(answer(ANSWERS[name]));
  if (name === "Escape" && page.looked) return done(back());
  if (name === "p" && page.mode === "end") return done(onPlace(page.viewer.pick()));
  const act = COMMANDS[name];
  return act ? done(act()) : false;
}

function done() {
  return true;
}

/** Has the page's buttons and fields do the same as keys. */
export function bindButtons() {
  for (const [id, key] of Object.entries(BUTTONS)) {
    byId(id).addEventListener("click", (event) => {
      // A button that was clicked would take the Enter that is meant for the tool.
      if (event.detail > 0) byId(id).blur();
      if (page.queue) COMMANDS[key]();
    });
  }
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    byId("search").blur();
    if (page.queue && byId("search").value.trim()) look(encodeURIComponent(byId("search").value.trim()));
  });
  for (const id of ["search", "comment"]) {
    byId(id).addEventListener("keydown", (event) => {
      if (event.key === "Escape" || (event.key === "Enter" && id === "comment")) byId(id).blur();
    });
  }
  byId("kinds").addEventListener("change", (event) => {
    event.target.blur();
    page.queue.choose(event.target.value);
  });
}

function toggleContext() {
  context = !context;
  page.viewer.setContext(context);
  byId("context-button").setAttribute("aria-pressed", String(context));
}

function centre() {
  page.viewer.reset(page.tool || page.looked ? null : page.queue.current()?.point_nm);
}

function nextLayout() {
  layout = (layout + 1) % LAYOUTS.length;
  page.viewer.setLayout(LAYOUTS[layout]);
}

function toggleHistory() {
  if (page.history.isOpen()) page.history.close();
  else page.history.open(page.looked?.id ?? "");
}
