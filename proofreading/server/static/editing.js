// Edits by hand, and taking back what was done: an edit by its undo, an answer without one by itself.

import { get, newKey, post } from "./api.js";
import { answer, isSure } from "./answering.js";
import { mayAnswer, page, setMode } from "./context.js";
import { ask, drawPanel, toast } from "./dom.js";
import { beginJoin } from "./join.js";
import { isByHand } from "./modes.js";
import { back, look, showNeuron } from "./showing.js";
import { beginSplit } from "./split.js";

/** Begins a split of the neuron that is looked at, or of those of the task. */
export function startSplit() {
  if (!mayAnswer() || page.tool) return;
  const task = page.looked ? null : page.queue.current();
  const others = (page.looked ? [page.looked] : task?.about ?? []).filter(Boolean);
  if (!others.length) return toast("There is no neuron to split here; look for one first (/).", "warn");
  const single = new Set(others.map((each) => each.id)).size === 1;
  setMode("split");
  page.tool = beginSplit(
    { neuron: single ? others[0] : null, others },
    { ...toolbox(), done: (edit, isRead) => splitDone(edit, isRead, task) },
  );
}

/** Begins to join two neurons, the first of which is that looked at. */
export function startJoin() {
  if (!mayAnswer() || page.tool) return;
  setMode("hand");
  // In hand from the beginning: it draws itself.
  page.tool = {};
  page.tool = beginJoin(page.looked, {
    ...toolbox(),
    isOpen: () => page.mode === "hand",
    force: async (line) => (await mayForce(line, "Join all the same: I am sure")) && isSure(),
    done: joinDone,
  });
}

async function joinDone(edit) {
  toast(`Joined: neurons ${edit.neurons_before.join(" and ")} are ${edit.neurons_after.join(", ")} now. Z takes it back.`);
  const home = page.looked;
  [page.tool, page.looked] = [null, null];
  setMode("wait", "");
  await settleEdit(edit);
  if (home) return look(edit.neurons_after[0]);
  back();
}

async function mayForce(line, words) {
  const choices = [
    ["force", words, "danger"],
    ["", "No: leave them apart"],
  ];
  return (await ask("This would join two cell bodies", line, choices)) === "force";
}

/** What a tool may do with the page. */
function toolbox() {
  const { looked } = page;
  return {
    draw: drawPanel,
    show: (scene, how = { stay: true }) => page.viewer.show(scene, how),
    pick: () => page.viewer.pick(),
    notice: toast,
    send: (path, body) => page.outbox.send(path, body),
    leave: () => (looked ? showNeuron(looked) : back()),
  };
}

async function splitDone(edit, isReadAnew, task) {
  toast(`Split: neuron ${edit.neurons_before.join(", ")} is ${edit.neurons_after.join(" and ")} now. Z takes it back.`);
  if (isReadAnew) await page.viewer.reload(edit.id);
  const home = page.looked;
  [page.tool, page.looked] = [null, null];
  await settleEdit(edit);
  if (home) return look(edit.neurons_after[0]);
  const current = page.queue.current();
  if (task && current?.id === task.id && isByHand(current)) {
    page.shownAt = 0;
    answer("accept", { edit: edit.id });
  } else {
    back();
  }
}

async function settleEdit(edit) {
  page.changes.own(edit.id);
  await page.queue.refresh([...edit.neurons_before, ...edit.neurons_after]);
  page.updateProgress();
  if (page.history.isOpen()) page.history.load();
}

/** Undoes or redoes an edit; asks before it gives a neuron a second cell body. */
export async function change(act, edit, force = false) {
  try {
    const done = await page.outbox.send(`/api/edits/${edit.id}/${act}`, { key: newKey(), force });
    toast(`Edit ${edit.id} was ${act === "undo" ? "undone" : "done again"}.`);
    if (edit.kind === "supervoxel_split") await page.viewer.reload(done.id);
    await settleEdit(done);
    if (page.looked) await look(page.looked.id);
    else if (!page.tool && !page.queue.current()) page.queue.fill();
    return done;
  } catch (error) {
    if (error.kind !== "soma") return toast(error.message, "error");
    if (await mayForce(error.message, "Do it all the same")) return change(act, edit, true);
  }
}

/** Takes back an answer that changed no neuron; whoever gave it gets its task again at once. */
export async function takeBack(given) {
  try {
    await page.outbox.send(`/api/answers/${given.id}/withdraw`, { key: newKey() });
    if (given.person !== page.me.name) return toast(`The answer of ${given.person} was taken back; its task is asked again.`);
    toast("Your answer was taken back; here is its task again.");
    await page.queue.again(await post(`/api/tasks/${given.task}/lease`), "back");
  } catch (error) {
    toast(error.message, error.kind === "lease" ? "warn" : "error");
  } finally {
    page.updateProgress();
  }
}

/** Takes back what I did last: an edit, or an answer that made none. */
export async function undoLast() {
  if (!mayAnswer()) return;
  await page.outbox.empty();
  const mine = `by=${encodeURIComponent(page.me.name)}`;
  const asked = [get(`/api/edits?${mine}&active=1&limit=1`), get(`/api/answers?${mine}&limit=50`)];
  const [{ edits: [edit] }, { answers }] = await Promise.all(asked);
  const given = answers.find((each) => each.can_be_withdrawn);
  if (given && (!edit || given.at >= edit.at)) return takeBack(given);
  if (!edit) return toast("There is nothing of yours to take back.", "warn");
  return change("undo", edit);
}
