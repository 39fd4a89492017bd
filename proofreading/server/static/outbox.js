// Answers and edits on their way to the server. Each is kept in the browser's storage under its key until the
// server acknowledges it, so that neither a closed tab nor a server that restarts loses one; the key has the
// server do it once, however often it is sent. One is sent at a time, in the order they were given. One at which
// the server fails again and again, or that somebody sets aside meanwhile, keeps no others from being sent: it is
// refused, and stays in the storage under another name for whoever looks for the cause.

import { Away, post, Refusal } from "./api.js";

const PREFIX = "proofread/outbox/";
const ASIDE = "proofread/aside/";
const MOST_DEFECTS = 4;
const WAITS_S = [0.5, 1, 2, 4, 8];

/**
 * Opens what this person has kept here.
 *
 * @param person their name; entries of others stay until they are back.
 * @param onState takes { waiting, away, line, inS, isDefect } whenever that changes: how many entries wait, whether
 *   the server cannot be reached, and whether it fails at the first of them.
 * @param onLogin is called when the session has ended; gives a promise of the new one.
 * @param onLeft takes an entry that an earlier visit left, and a promise of what becomes of it.
 */
export function openOutbox(person, { onState, onLogin, onLeft }) {
  const entries = kept(person);
  const known = new Map();
  let isSending = false;
  let wake = () => {};

  for (const entry of entries) onLeft(entry, promised(entry));
  window.addEventListener("online", () => wake());
  tell();
  work();

  /**
   * Sends a body to a path under its key.
   *
   * @param more what is kept beside it, for the page that finds it again.
   * @returns a promise of the answer. Rejects with a `Refusal` only, which has `wasAway` if it waited long.
   */
  function send(path, body, more = {}) {
    const entry = { key: body.key, person, path, body, more, at: new Date().toISOString(), tries: 0 };
    localStorage.setItem(PREFIX + entry.key, JSON.stringify(entry));
    entries.push(entry);
    const result = promised(entry);
    tell();
    work();
    return result;
  }

  function promised(entry) {
    return new Promise((resolve, reject) => known.set(entry.key, { resolve, reject }));
  }

  async function work() {
    if (isSending) return;
    isSending = true;
    while (entries.length) {
      const entry = entries[0];
      try {
        settle(entry, "resolve", await post(entry.path, entry.body));
      } catch (error) {
        if (error instanceof Away && isHopeless(error, entry)) putAside(entry, error.message);
        else if (error instanceof Away) await pause(error, entry);
        else if (error instanceof Refusal && error.status === 401) await onLogin();
        else settle(entry, "reject", Object.assign(error, { wasAway: entry.tries > 0 || entry.isLeft }));
      }
    }
    isSending = false;
  }

  function settle(entry, how, value) {
    entries.shift();
    localStorage.removeItem(PREFIX + entry.key);
    const promise = known.get(entry.key);
    known.delete(entry.key);
    promise[how](value);
    tell();
  }

  function isHopeless(error, entry) {
    entry.defects = error.isDefect ? (entry.defects ?? 0) + 1 : 0;
    return entry.defects >= MOST_DEFECTS || (error.isDefect && entry.isUnwanted);
  }

  function putAside(entry, line) {
    localStorage.setItem(ASIDE + entry.key, JSON.stringify(entry));
    settle(entry, "reject", new Refusal(500, { error: `${line} It was set aside in this browser.`, kind: "defect" }));
  }

  /** Tries what the server fails at once more, and then goes on with the next. */
  function setAside() {
    if (entries.length) entries[0].isUnwanted = true;
    wake();
  }

  async function pause(error, entry) {
    const inS = Math.max(error.waitS, WAITS_S[Math.min(entry.tries, WAITS_S.length - 1)]);
    entry.tries += 1;
    onState({ waiting: entries.length, away: true, line: error.message, inS, isDefect: error.isDefect });
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, inS * 1000);
    });
  }

  function tell() {
    onState({ waiting: entries.length, away: false, line: "", inS: 0 });
  }

  /** Whether an answer to a task is on its way. */
  function holds(task) {
    return entries.some((entry) => entry.more.task === task);
  }

  /** Resolves as soon as nothing is on its way. */
  async function empty() {
    while (entries.length) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  return { send, holds, empty, setAside, retry: () => wake(), size: () => entries.length };
}

/** Entries of earlier visits, the first one first. */
function kept(person) {
  return Object.keys(localStorage)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => JSON.parse(localStorage.getItem(name)))
    .filter((entry) => entry.person === person)
    .map((entry) => ({ ...entry, isLeft: true }))
    .sort((a, b) => (a.at < b.at ? -1 : 1));
}
