// The tasks that are with this person: the one that is shown, and a few after it, fetched ahead. An answer shows
// the next one at once and is sent meanwhile; where the server refuses it, its task is shown again. Leases are
// kept alive as long as somebody is there, and given back when the page is left.

import { Away, get, newKey, post, Refusal } from "./api.js";
import { withScene } from "./scenes.js";

const AHEAD = 3;
const AWAY_AFTER_MS = 5 * 60 * 1000;
const EMPTY_RETRY_MS = 15000;

// From here to the next task is what a person waits.
export const ANSWERED = "answered";

/**
 * Makes the queue of a page.
 *
 * @param project what /api/project says.
 * @param outbox from `openOutbox`.
 * @param tell functions of the page: onTask(task, why), onReady(tasks), onEmpty(isAsking), onPaused(),
 *   onNotice(line, kind), onAcknowledged(outcome, task, body), onSoma(task, body, line), onLogin().
 */
export function makeQueue(project, outbox, tell) {
  let current = null;
  let ready = [];
  let kinds = "";
  let isFilling = false;
  let isPaused = false;
  let shownAt = 0;
  let lastTouch = Date.now();
  let timer = null;
  let retry = null;
  const orphans = new Map();

  /** Begins to hand out tasks. */
  function start() {
    isPaused = false;
    timer ??= setInterval(beat, Math.min(30000, (project.lease_seconds * 1000) / 3));
    return fill();
  }

  /** Somebody is there. */
  function touch() {
    lastTouch = Date.now();
    if (isPaused) start();
  }

  async function fill() {
    if (isFilling || isPaused) return;
    isFilling = true;
    try {
      while (held().length < AHEAD) {
        const wanted = AHEAD - held().length;
        const { tasks } = await post(`/api/tasks/next?n=${wanted}${kinds && `&kinds=${kinds}`}`);
        for (const task of tasks) await take(task);
        if (!current) advance();
        if (tasks.length < wanted) break;
      }
    } catch (error) {
      await failed(error);
    } finally {
      isFilling = false;
    }
    clearTimeout(retry);
    if (current || isPaused) return;
    tell.onEmpty(false);
    retry = setTimeout(fill, EMPTY_RETRY_MS);
  }

  async function take(task) {
    const before = orphans.get(task.id);
    orphans.delete(task.id);
    if (before && sameVersions(before.versions, task.versions)) {
      submit(task, { ...before, lease: task.lease, key: newKey() });
      return;
    }
    ready.push(await withScene(task));
    tell.onReady(ready);
    if (!current) advance();
  }

  function advance(why = "next") {
    current = ready.shift() ?? null;
    shownAt = performance.now();
    if (current) tell.onTask(current, why);
    else tell.onEmpty(isFilling);
    tell.onReady(ready);
  }

  /**
   * Answers the task that is shown, and shows the next one.
   *
   * @param verdict accept, reject, unknown or skip.
   * @param more comment, force, partner.
   */
  function answer(verdict, more = {}) {
    if (!current) return;
    const task = current;
    performance.mark(ANSWERED);
    const seconds = Math.min(86400, Math.max(0.01, (performance.now() - shownAt) / 1000));
    submit(task, {
      lease: task.lease,
      verdict,
      versions: task.versions,
      key: newKey(),
      seconds: Math.round(seconds * 100) / 100,
      ...more,
    });
    advance();
    fill();
  }

  function submit(task, body) {
    const sent = outbox.send(`/api/tasks/${task.id}/answer`, body, { task: task.id });
    follow(task, body, sent);
  }

  async function follow(task, body, sent) {
    try {
      const outcome = await sent;
      if (outcome.edit) await refresh([...task.neurons, ...outcome.task.neurons]);
      tell.onAcknowledged(outcome, task, body);
    } catch (error) {
      refused(task, body, error);
    }
    fill();
  }

  async function refused(task, body, error) {
    const fresh = error.body?.task;
    if (error.kind === "conflict" && fresh && fresh.state !== "leased") {
      giveBack(task);
      tell.onNotice("A task has no question left, since its neurons changed.", "info");
    } else if (error.kind === "conflict" && fresh) {
      await again({ ...fresh, lease: task.lease });
      tell.onNotice("Its neurons changed since you saw it: look at this one again.", "warn");
    } else if (error.kind === "soma" && fresh) {
      await again({ ...fresh, lease: task.lease }, "soma");
      tell.onSoma(current, body, error.message);
    } else if (error.kind === "lease" && error.wasAway) {
      orphans.set(task.id, body);
      tell.onNotice("The lease of a kept answer had ended; it counts as soon as the task comes back.", "warn");
    } else if (error.kind === "lease") {
      tell.onNotice("Your lease of that task had ended, so the answer did not count. Moved on.", "warn");
    } else {
      giveBack(task);
      tell.onNotice(`The answer was refused: ${error.message}`, "error");
    }
  }

  /** Shows a task again, before the one that is shown now. */
  async function again(task, why = "again") {
    const shown = await withScene(task).catch(() => task);
    if (current) ready.unshift(current);
    ready.unshift(shown);
    advance(why);
  }

  /** Looks anew at tasks of neurons that changed; those without a question go. */
  async function refresh(neurons) {
    const changed = new Set(neurons);
    for (const task of held().filter((each) => each.neurons.some((id) => changed.has(id)))) {
      try {
        const fresh = await get(`/api/tasks/${task.id}`);
        const isStale = fresh.state !== "leased";
        replace(task, isStale ? null : await withScene({ ...fresh, lease: task.lease }));
        if (isStale) giveBack(task);
      } catch (error) {
        await failed(error);
      }
    }
    fill();
  }

  function replace(task, next) {
    if (current?.id === task.id) {
      if (next) tell.onTask((current = next), "refreshed");
      else advance();
      return;
    }
    ready = ready.flatMap((each) => (each.id !== task.id ? [each] : next ? [next] : []));
  }

  async function beat() {
    if (!isPaused && Date.now() - lastTouch > AWAY_AFTER_MS && held().length) return pause();
    for (const task of held()) {
      try {
        await post(`/api/tasks/${task.id}/heartbeat`, { lease: task.lease });
      } catch (error) {
        if (error instanceof Refusal && error.kind === "lease") lost(task);
        else return failed(error);
      }
    }
  }

  function lost(task) {
    if (outbox.holds(task.id)) return;
    const wasShown = current?.id === task.id;
    replace(task, null);
    if (wasShown) tell.onNotice("Your lease of this task had ended; it may be with somebody else. Moved on.", "warn");
    fill();
  }

  function pause() {
    isPaused = true;
    releaseAll();
    current = null;
    ready = [];
    tell.onPaused();
  }

  async function failed(error) {
    if (error instanceof Away) return;
    if (error.status === 401) await tell.onLogin();
    else tell.onNotice(error.message, "error");
  }

  function giveBack(task, how) {
    post(`/api/tasks/${task.id}/release`, { lease: task.lease }, how).catch(() => {});
  }

  /** Gives all tasks back that are not answered, also while the page is being left. */
  function releaseAll() {
    for (const task of held()) giveBack(task, { keepalive: true });
  }

  /** Takes only tasks of some kinds from now on: words separated by commas, none for all. */
  function choose(words) {
    kinds = words;
    releaseAll();
    ready = [];
    current = null;
    tell.onEmpty(true);
    return fill();
  }

  function held() {
    return current ? [current, ...ready] : [...ready];
  }

  window.addEventListener("pagehide", releaseAll);
  return { start, fill, touch, answer, submit, refresh, choose, again, held, current: () => current, ready: () => ready };
}

function sameVersions(one, other) {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}
