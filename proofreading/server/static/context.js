// What the modules of the page share: who is there, what is open, and the one mode that the page is in.
//
// It is always in one mode: a task (join, refused, merger, end), a tool (`split`), `look` at a neuron, or `wait`.
// The mode is a word and a colour around the viewer, and decides what keys do.

import { byId } from "./dom.js";
import { MODES } from "./modes.js";

/**
 * me: { name, role }. viewer, queue, outbox, history, changes: from their modules. mode: see above. tool: what a person
 * does by hand, { key, place }, or null. looked: the neuron that is looked at, or null. partner: the neuron in
 * which a loose end goes on, or null. shownAt: when the task was shown.
 */
export const page = {
  me: null,
  viewer: null,
  queue: null,
  outbox: null,
  history: null,
  changes: null,
  mode: "wait",
  tool: null,
  looked: null,
  partner: null,
  shownAt: 0,
  updateProgress: () => {},
};

export const mayAnswer = () => page.me.role !== "read";

export function setMode(next, question = MODES[next].question, notice = "") {
  page.mode = next;
  document.body.dataset.mode = next;
  byId("mode-word").textContent = MODES[next].word;
  byId("mode-question").textContent = question;
  byId("mode-notice").textContent = notice;
  byId("comment-field").hidden = !isTask();
}

/** Whether the page asks a task. */
export function isTask(name = page.mode) {
  return name === "join" || name === "refused" || name === "merger" || name === "end";
}

/** Whether a person is busy with something else than the task, which waits. */
export const isBusy = () => Boolean(page.tool || page.looked);
