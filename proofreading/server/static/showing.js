// What is shown: a task, a neuron that was looked for, or why there is nothing.

import { get } from "./api.js";
import { answer } from "./answering.js";
import { isBusy, mayAnswer, page, setMode } from "./context.js";
import { button, byId, drawPanel, toast } from "./dom.js";
import { startSplit } from "./editing.js";
import { neuronPanel, plainPanel, taskPanel } from "./panel.js";
import { ANSWERED } from "./queue.js";
import { neuronScene } from "./scenes.js";

const NOTHING = { groups: [], marks: [], point_nm: null };
const NOTICES = {
  again: "Shown again: its neurons changed since",
  back: "Taken back: answer it anew",
  soma: "Not done: two cell bodies would be one neuron's",
};

export function onTask(task, why) {
  // Whoever splits or looks at a neuron is not disturbed, and finds the task afterwards.
  if (!isBusy()) showTask(task, why);
}

export async function showTask(task, why) {
  const begun = performance.now();
  const isNew = why !== "refreshed";
  [page.tool, page.looked] = [null, null];
  if (isNew) page.partner = null;
  setMode(task.kind, undefined, NOTICES[why]);
  page.viewer.show(task.scene, { stay: !isNew });
  drawTask();
  if (isNew) page.shownAt = performance.now();
  document.body.dataset.task = task.id;
  delete document.body.dataset.drawn;
  if (why === "next") measure("answer-to-panel");
  await page.viewer.drawn();
  if (page.queue.current()?.id !== task.id) return;
  document.body.dataset.drawn = task.id;
  document.body.dataset.drawnMs = String(Math.round(performance.now() - begun));
  if (why === "next") measure("answer-to-next");
  performance.clearMarks(ANSWERED);
  page.viewer.prefetch(page.queue.ready().slice(0, 2).map((each) => each.scene));
}

/** How long ago the last answer was given, among the browser's measures of the page. */
function measure(name) {
  if (performance.getEntriesByName(ANSWERED).length) performance.measure(name, ANSWERED);
}

export function drawTask() {
  const task = page.queue.current();
  drawPanel(taskPanel(task, page.partner, { answer, look }, mayAnswer()));
}

export function onReady(tasks) {
  byId("ahead").textContent = tasks.length ? `${tasks.length} more ready` : "";
}

export function onEmpty(isAsking, isAway = false) {
  if (isBusy()) return;
  delete document.body.dataset.task;
  if (isAway || isAsking) {
    setMode("wait", isAway ? "Waiting for the server; what you answered is kept" : "Fetching the next task…");
    drawPanel();
    return;
  }
  setMode("wait", "No task is open for you now");
  page.viewer.show(NOTHING);
  const line = "New ones come as others answer, and as the page asks again every few seconds.";
  const title = byId("kinds").value ? "None of this kind" : "All done";
  drawPanel(plainPanel(title, line, button("Ask again", "", () => page.queue.fill())));
}

export function onPaused() {
  setMode("wait", "Paused, since nobody was there: press any key to go on");
  drawPanel(plainPanel("Paused", "Your tasks went back, so that others can have them."));
}

export function onlyLooking() {
  setMode("wait", "You may look: search for a neuron, or open the history");
  drawPanel(plainPanel("Reading only", `${page.me.name} has the role 'read' and gets no tasks.`));
}

/** Back from a tool or a look to the task. */
export function back() {
  [page.tool, page.looked] = [null, null];
  byId("search").value = "";
  const task = page.queue.current();
  if (task) showTask(task, "next");
  else if (mayAnswer()) onEmpty(false);
  else onlyLooking();
}

/** Others changed neurons: what is shown of them is brought up to date, and stays where it is. */
export async function onEdited(neurons) {
  if (page.history.isOpen()) page.history.load();
  await page.queue.refresh(neurons);
  const changed = new Set(neurons);
  if (page.tool) return page.tool.refresh(changed);
  if (!page.looked || !changed.has(page.looked.id)) return;
  const { neurons: found } = await get(`/api/search?q=${page.looked.id}`);
  if (!page.tool && page.looked) showNeuron(found[0], { stay: true });
}

/** Looks at the neuron of an ID, which may be an earlier one, or a piece's. */
export async function look(id) {
  try {
    const { neurons } = await get(`/api/search?q=${id}`);
    if (neurons.length > 1) toast(`${id} is now in ${neurons.map((each) => each.id).join(", ")}; this is the first.`);
    showNeuron(neurons[0]);
  } catch (error) {
    toast(error.message, "error");
  }
}

export function showNeuron(neuron, { stay = false } = {}) {
  page.looked = neuron;
  page.tool = null;
  setMode("look", `Neuron ${neuron.id}`);
  const scene = neuronScene(neuron);
  page.viewer.show(scene, { stay: stay || !scene.point_nm });
  const act = { split: startSplit, history: (of) => page.history.open(of), back };
  drawPanel(neuronPanel(neuron, act, mayAnswer()));
}
