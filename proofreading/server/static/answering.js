// Answers to the task that is shown, and what the server makes of them.

import { get } from "./api.js";
import { isTask, mayAnswer, page } from "./context.js";
import { ask, byId, toast } from "./dom.js";
import { startSplit } from "./editing.js";
import { isByHand } from "./modes.js";
import { sceneOf } from "./scenes.js";
import { drawTask, look } from "./showing.js";
import { length } from "./units.js";

// A second press of a key that was meant once does not answer the next task.
const NOT_BEFORE_MS = 150;

export function answer(verdict, more = {}) {
  const task = page.queue.current();
  if (!task || !mayAnswer() || !isTask() || performance.now() - page.shownAt < NOT_BEFORE_MS) return;
  if (verdict === "accept" && isByHand(task) && !more.edit) return startSplit();
  if (verdict === "accept" && task.kind === "end") {
    if (!page.partner) return toast("First show where it goes on: Shift+click the piece, or point at it and press P.", "warn");
    const versions = { ...task.versions, [page.partner.id]: page.partner.version };
    more = { ...more, partner: page.partner.picked, versions };
  }
  const comment = byId("comment").value.trim();
  byId("comment").value = "";
  page.queue.answer(verdict, comment ? { ...more, comment } : more);
}

export function onAcknowledged(outcome, task, body) {
  document.body.dataset.acknowledged = String(Number(document.body.dataset.acknowledged ?? 0) + 1);
  if (outcome.edit) {
    page.changes.own(outcome.edit);
    if (outcome.gained_nm > 0) toast(`${task.kind === "merger" ? "Cut" : "Joined"}: +${length(outcome.gained_nm)} of run length`);
    if (task.preview?.needs_supervoxel_split) page.viewer.reload(outcome.edit);
  } else if (outcome.shown_again && body.verdict === "accept") {
    toast("Noted; another person is asked as well.");
  }
  if (page.history.isOpen()) page.history.load();
  page.updateProgress();
}

export async function onSoma(task, body, line) {
  if (!task) return;
  const choice = await ask("This would join two cell bodies", line, [
    ["force", "Join all the same: I am sure", "danger"],
    ["no", "No: leave them apart"],
    ["back", "Look again"],
  ]);
  if (page.queue.current()?.id !== task.id) return;
  page.shownAt = 0;
  if (choice === "no") return answer("reject");
  if (choice !== "force" || !(await isSure())) return;
  if (page.queue.current()?.id === task.id) {
    const { partner, versions } = body;
    page.queue.answer("accept", { force: true, ...(partner && { partner, versions }) });
  }
}

/** Asks a second time before two cell bodies are joined. */
export async function isSure() {
  const sure = await ask("Two cell bodies in one neuron?", "The edit is logged as forced, with your name.", [
    ["yes", "Yes, force it", "danger"],
    ["", "No, go back"],
  ]);
  return sure === "yes";
}

/** What an earlier visit had left to be sent. */
export function onLeft(entry, sent) {
  sent.then(
    () => {
      toast("An answer that was kept here has arrived.");
      page.updateProgress();
    },
    (error) => toast(`What was kept here did not count: ${error.message}`, "warn"),
  );
}

/** A point was picked in the viewer: for the tool, the loose end, or to look at its neuron. */
export async function onPlace(point) {
  if (page.tool) return page.tool.place(point);
  if (page.mode === "end" && point) return choosePartner(point);
  if (point && (page.mode === "look" || !isTask())) return look(point.supervoxel);
}

async function choosePartner(point) {
  const task = page.queue.current();
  try {
    const { neurons } = await get(`/api/search?q=${point.supervoxel}`);
    const found = neurons.find((each) => each.supervoxels?.includes(point.supervoxel));
    if (!found || page.queue.current()?.id !== task.id) return;
    if (found.id === task.neurons[0]) return toast("That is the same neuron; pick the piece in which it goes on.", "warn");
    page.partner = { ...found, picked: point.supervoxel };
    page.viewer.show(sceneOf(task, task.about, task.preview, page.partner), { stay: true });
    drawTask();
  } catch (error) {
    toast(error.message, "error");
  }
}
