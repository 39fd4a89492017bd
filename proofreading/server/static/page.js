// The page: it joins the viewer, the queue of tasks, the panel and the keys.
//
// It is always in one mode: a task (join, refused, merger, end), `split`, `look` at a neuron, or `wait`. The mode
// is a word and a colour around the viewer, and decides what keys do.

import { get, newKey, onAway, Refusal } from "./api.js";
import { ask, button, byId, toast } from "./dom.js";
import { fillHelp } from "./help.js";
import { makeHistory } from "./history.js";
import { listenForKeys } from "./keys.js";
import { askWho, person } from "./login.js";
import { isByHand, MODES } from "./modes.js";
import { LAYOUTS, openViewer } from "./ng_adapter.js";
import { openOutbox } from "./outbox.js";
import { neuronPanel, plainPanel, taskPanel } from "./panel.js";
import { watchProgress } from "./progress.js";
import { makeQueue } from "./queue.js";
import { neuronScene, sceneOf } from "./scenes.js";
import { beginSplit } from "./split.js";
import { length } from "./units.js";

// A second press of a key that was meant once does not answer the next task.
const NOT_BEFORE_MS = 150;
const PING_MS = 1500;

let me = null;
let viewer = null;
let queue = null;
let outbox = null;
let edits = null;
let mode = "wait";
let split = null;
let looked = null;
let partner = null;
let context = true;
let layout = 0;
let shownAt = 0;
let lastEdit = null;
let isAway = false;
let isKeeping = false;
let pingLater = null;
let updateProgress = () => {};

const mayAnswer = () => me.role !== "read";

main().catch((error) => {
  setMode("wait", "The page could not start");
  byId("panel").replaceChildren(plainPanel("The page could not start", error.message));
});

async function main() {
  fillHelp();
  const listen = listenForKeys(onKey);
  listen(window);
  bindButtons();
  me = await person();
  byId("person").textContent = me.name;
  const project = await get("/api/project");
  byId("project").textContent = project.name;
  document.title = `${project.name} · proofread`;
  onAway(away);
  updateProgress = watchProgress();
  updateProgress();
  viewer = await openViewer(byId("viewer"), project, onPlace);
  listen(viewer.window, true);
  watchHands();
  outbox = openOutbox(me.name, { onState: drawOutbox, onLogin: logInAgain, onLeft: left });
  edits = makeHistory({ change, look, mayEdit: mayAnswer() });
  queue = makeQueue(project, outbox, {
    onTask,
    onReady,
    onEmpty,
    onPaused,
    onSoma,
    onAcknowledged,
    onNotice: toast,
    onLogin: logInAgain,
  });
  document.body.dataset.ready = "true";
  if (mayAnswer()) await queue.start();
  else onlyLooking();
}

/* Modes */

function setMode(next, question = MODES[next].question, notice = "") {
  mode = next;
  document.body.dataset.mode = next;
  byId("mode-word").textContent = MODES[next].word;
  byId("mode-question").textContent = question;
  byId("mode-notice").textContent = notice;
  byId("comment-field").hidden = !isTask(next);
}

function isTask(name) {
  return name === "join" || name === "refused" || name === "merger" || name === "end";
}

function onTask(task, why) {
  // Whoever splits or looks at a neuron is not disturbed, and finds the task afterwards.
  if (!split && !looked) showTask(task, why);
}

async function showTask(task, why) {
  const begun = performance.now();
  [split, looked] = [null, null];
  if (why !== "refreshed") partner = null;
  const again = why === "again" ? "Shown again: its neurons changed since" : "";
  setMode(task.kind, undefined, again);
  viewer.show(task.scene, { stay: why === "refreshed" });
  drawTask();
  if (why !== "refreshed") shownAt = performance.now();
  document.body.dataset.task = task.id;
  delete document.body.dataset.drawn;
  await viewer.drawn();
  if (queue.current()?.id !== task.id) return;
  document.body.dataset.drawn = task.id;
  document.body.dataset.drawnMs = String(Math.round(performance.now() - begun));
  viewer.prefetch(queue.ready().slice(0, 2).map((each) => each.scene));
}

function drawTask() {
  const task = queue.current();
  byId("panel").replaceChildren(taskPanel(task, partner, { answer, look }, mayAnswer()));
}

function onReady(tasks) {
  byId("ahead").textContent = tasks.length ? `${tasks.length} more ready` : "";
}

function onEmpty(isAsking) {
  if (split || looked) return;
  delete document.body.dataset.task;
  if (isAway || isAsking) {
    setMode("wait", isAway ? "Waiting for the server; what you answered is kept" : "Fetching the next task…");
    byId("panel").replaceChildren();
    return;
  }
  setMode("wait", "No task is open for you now");
  const line = "New ones come as others answer, and as the page asks again every few seconds.";
  byId("panel").replaceChildren(plainPanel("All done", line, button("Ask again", "", () => queue.fill())));
}

function onPaused() {
  setMode("wait", "Paused, since nobody was there: press any key to go on");
  byId("panel").replaceChildren(plainPanel("Paused", "Your tasks went back, so that others can have them."));
}

function onlyLooking() {
  setMode("wait", "You may look: search for a neuron, or open the history");
  byId("panel").replaceChildren(plainPanel("Reading only", `${me.name} has the role 'read' and gets no tasks.`));
}

/** Back from a split or a look to the task. */
function back() {
  [split, looked] = [null, null];
  byId("search").value = "";
  const task = queue.current();
  if (task) showTask(task, "next");
  else if (mayAnswer()) onEmpty(false);
  else onlyLooking();
}

/* Answers */

function answer(verdict, more = {}) {
  const task = queue.current();
  if (!task || !mayAnswer() || !isTask(mode) || performance.now() - shownAt < NOT_BEFORE_MS) return;
  if (verdict === "accept" && isByHand(task)) return startSplit();
  if (verdict === "accept" && task.kind === "end") {
    if (!partner) return toast("First show where it goes on: Shift+click the piece, or point at it and press P.", "warn");
    more = { ...more, partner: partner.picked };
  }
  const comment = byId("comment").value.trim();
  byId("comment").value = "";
  queue.answer(verdict, comment ? { ...more, comment } : more);
}

function onAcknowledged(outcome, task, body) {
  document.body.dataset.acknowledged = String(Number(document.body.dataset.acknowledged ?? 0) + 1);
  if (outcome.edit) {
    lastEdit = outcome.edit;
    if (outcome.gained_nm > 0) toast(`${task.kind === "merger" ? "Cut" : "Joined"}: +${length(outcome.gained_nm)} of run length`);
    if (task.preview?.needs_supervoxel_split) viewer.reload(outcome.edit);
    if (edits.isOpen()) edits.load();
  } else if (outcome.shown_again && body.verdict === "accept") {
    toast("Noted; another person is asked as well.");
  }
  updateProgress();
}

async function onSoma(task, body, line) {
  if (!task) return;
  const choice = await ask("This would join two cell bodies", line, [
    ["force", "Join all the same: I am sure", "danger"],
    ["no", "No: leave them apart"],
    ["back", "Look again"],
  ]);
  if (queue.current()?.id !== task.id) return;
  shownAt = 0;
  if (choice === "no") return answer("reject");
  if (choice !== "force") return;
  const sure = await ask("Two cell bodies in one neuron?", "The edit is logged as forced, with your name.", [
    ["yes", "Yes, force it", "danger"],
    ["", "No, go back"],
  ]);
  if (sure === "yes" && queue.current()?.id === task.id) {
    queue.answer("accept", { force: true, ...(body.partner && { partner: body.partner }) });
  }
}

/** What an earlier visit had left to be sent. */
function left(entry, sent) {
  sent.then(
    () => {
      toast("An answer that was kept here has arrived.");
      updateProgress();
    },
    (error) => toast(`What was kept here did not count: ${error.message}`, "warn"),
  );
}

/* Edits by hand */

async function onPlace(point) {
  if (split) return split.place(point);
  if (mode === "end" && point) return choosePartner(point);
  if (point && (mode === "look" || !isTask(mode))) return look(point.supervoxel);
}

async function choosePartner(point) {
  const task = queue.current();
  try {
    const { neurons } = await get(`/api/search?q=${point.supervoxel}`);
    const found = neurons.find((each) => each.supervoxels?.includes(point.supervoxel));
    if (!found || queue.current()?.id !== task.id) return;
    if (found.id === task.neurons[0]) return toast("That is the same neuron; pick the piece in which it goes on.", "warn");
    partner = { ...found, picked: point.supervoxel };
    viewer.show(sceneOf(task, task.about, task.preview, partner), { stay: true });
    drawTask();
  } catch (error) {
    toast(error.message, "error");
  }
}

function startSplit() {
  if (!mayAnswer() || split) return;
  const task = looked ? null : queue.current();
  const others = (looked ? [looked] : task?.about ?? []).filter(Boolean);
  if (!others.length) return toast("There is no neuron to split here; look for one first (/).", "warn");
  const single = new Set(others.map((each) => each.id)).size === 1;
  const leave = looked ? () => ((split = null), showNeuron(looked)) : back;
  setMode("split");
  split = beginSplit(
    { neuron: single ? others[0] : null, others },
    {
      draw: (element) => byId("panel").replaceChildren(element),
      show: (scene) => viewer.show(scene, { stay: true }),
      pick: () => viewer.pick(),
      notice: toast,
      send: (path, body) => outbox.send(path, body),
      leave,
      done: (edit, isRead) => splitDone(edit, isRead, task),
    },
  );
}

async function splitDone(edit, isReadAnew, task) {
  lastEdit = edit.id;
  toast(`Split: neuron ${edit.neurons_before.join(", ")} is ${edit.neurons_after.join(" and ")} now. Z takes it back.`);
  if (isReadAnew) await viewer.reload(edit.id);
  const home = looked;
  split = null;
  looked = null;
  await settleEdit(edit);
  if (home) return look(edit.neurons_after[0]);
  const current = queue.current();
  if (task && current?.id === task.id && isByHand(current)) {
    shownAt = 0;
    queue.answer("accept");
  } else {
    back();
  }
}

async function settleEdit(edit) {
  await queue.refresh([...edit.neurons_before, ...edit.neurons_after]);
  updateProgress();
  if (edits.isOpen()) edits.load();
}

/** Undoes or redoes an edit; asks before it gives a neuron a second cell body. */
async function change(act, edit, force = false) {
  try {
    const done = await outbox.send(`/api/edits/${edit.id}/${act}`, { key: newKey(), force });
    toast(`Edit ${edit.id} was ${act === "undo" ? "undone" : "done again"}.`);
    if (edit.kind === "supervoxel_split" || edit.kind === undefined) await viewer.reload(done.id);
    await settleEdit(done);
    if (looked) await look(looked.id);
    else if (!split && !queue.current()) queue.fill();
    return done;
  } catch (error) {
    if (error.kind !== "soma") return toast(error.message, "error");
    const choice = await ask("This would join two cell bodies", error.message, [
      ["force", "Do it all the same", "danger"],
      ["", "Leave it"],
    ]);
    if (choice === "force") return change(act, edit, true);
  }
}

async function undoLast() {
  if (!mayAnswer()) return;
  await outbox.empty();
  const found = (await get("/api/edits?limit=100")).edits;
  const last = found.find((each) => each.person === me.name && !each.target && each.undone_by === null);
  if (!last) return toast("There is no edit of yours to undo. A 'no' changes no neuron.", "warn");
  return change("undo", last);
}

/* Looking */

async function look(id) {
  try {
    const { neurons } = await get(`/api/search?q=${id}`);
    if (neurons.length > 1) toast(`${id} is now in ${neurons.map((each) => each.id).join(", ")}; this is the first.`);
    showNeuron(neurons[0]);
  } catch (error) {
    toast(error.message, "error");
  }
}

function showNeuron(neuron) {
  looked = neuron;
  split = null;
  setMode("look", `Neuron ${neuron.id}`);
  const scene = neuronScene(neuron);
  viewer.show(scene, { stay: !scene.point_nm });
  byId("panel").replaceChildren(
    neuronPanel(neuron, { split: startSplit, history: (of) => edits.open(of), back }, mayAnswer()),
  );
}

/* Keys and buttons */

const ANSWERS = { y: "accept", n: "reject", u: "unknown", s: "skip" };

function onKey(name) {
  if (document.querySelector("dialog[open]")) return false;
  if (!queue) return false;
  if (name === "Escape" && edits.isOpen()) return done(edits.close());
  if (split?.key(name)) return true;
  if (ANSWERS[name] && isTask(mode)) return done(answer(ANSWERS[name]));
  if (name === "Escape" && looked) return done(back());
  if (name === "p" && mode === "end") return done(onPlace(viewer.pick()));
  const act = COMMANDS[name];
  return act ? done(act()) : false;
}

const COMMANDS = {
  c: toggleContext,
  r: centre,
  l: nextLayout,
  t: startSplit,
  z: undoLast,
  h: toggleHistory,
  m: () => byId("comment-field").hidden || byId("comment").focus(),
  "/": () => byId("search").select(),
  "?": () => byId("help").showModal(),
  ArrowLeft: () => viewer.step([0, 0, -1]),
  ArrowRight: () => viewer.step([0, 0, 1]),
  ArrowUp: () => viewer.step([0, -1, 0]),
  ArrowDown: () => viewer.step([0, 1, 0]),
  ",": () => viewer.step([-1, 0, 0]),
  ".": () => viewer.step([1, 0, 0]),
};

function done() {
  return true;
}

function bindButtons() {
  const buttons = {
    "context-button": "c",
    "centre-button": "r",
    "layout-button": "l",
    "split-button": "t",
    "undo-button": "z",
    "history-button": "h",
    "help-button": "?",
  };
  for (const [id, key] of Object.entries(buttons)) byId(id).addEventListener("click", () => queue && COMMANDS[key]());
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    byId("search").blur();
    if (queue && byId("search").value.trim()) look(encodeURIComponent(byId("search").value.trim()));
  });
  for (const id of ["search", "comment"]) {
    byId(id).addEventListener("keydown", (event) => {
      if (event.key === "Escape" || (event.key === "Enter" && id === "comment")) byId(id).blur();
    });
  }
  byId("kinds").addEventListener("change", (event) => {
    event.target.blur();
    queue.choose(event.target.value);
  });
  byId("person").addEventListener("click", logOut);
  byId("banner-retry").addEventListener("click", ping);
}

function toggleContext() {
  context = !context;
  viewer.setContext(context);
  byId("context-button").setAttribute("aria-pressed", String(context));
}

function centre() {
  viewer.reset(split || looked ? null : queue.current()?.point_nm);
}

function nextLayout() {
  layout = (layout + 1) % LAYOUTS.length;
  viewer.setLayout(LAYOUTS[layout]);
}

function toggleHistory() {
  if (edits.isOpen()) edits.close();
  else edits.open(looked?.id ?? "");
}

// Leaving the page gave the tasks back; whoever comes back by the browser's history begins anew.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

/** Whether somebody is there; leases are kept alive for them only. */
function watchHands() {
  for (const target of [window, viewer.window]) {
    for (const name of ["keydown", "mousemove", "mousedown", "wheel"]) {
      target.addEventListener(name, () => queue?.touch(), { capture: true, passive: true });
    }
  }
}

/* The server */

async function logInAgain() {
  const who = await askWho();
  if (who.name !== me.name) location.reload();
}

async function logOut() {
  if (outbox?.size() && (await ask("Answers are still being sent", "They stay in this browser and are sent when you are back.", [["", "Stay"], ["out", "Log out"]])) !== "out") return;
  await fetch("/api/session", { method: "DELETE", headers: { "X-Requested-By": "proofread" } }).catch(() => {});
  location.reload();
}

function away(line) {
  isAway = true;
  drawBanner(line);
  pingLater ??= setTimeout(ping, PING_MS);
}

/** Asks whether the server answers again, until it does. */
async function ping() {
  clearTimeout(pingLater);
  pingLater = null;
  try {
    await get("/api/me");
  } catch (error) {
    if (!(error instanceof Refusal)) return;
    if (error.status === 401) logInAgain();
  }
  isAway = false;
  drawBanner();
  outbox?.retry();
  queue?.fill();
  updateProgress();
}

function drawOutbox(state) {
  isKeeping = state.away;
  document.body.dataset.waiting = String(state.waiting);
  drawBanner(state.line || undefined);
}

function drawBanner(line = "the server does not answer") {
  const waiting = outbox?.size() ?? 0;
  const kept = `${waiting} ${waiting === 1 ? "answer is" : "answers are"} kept in this browser and will be sent.`;
  byId("banner").hidden = !isAway && !isKeeping;
  byId("banner-line").textContent = `No connection: ${line}. ${waiting ? kept : "Nothing is lost."} Trying again…`;
}
