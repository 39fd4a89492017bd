// Requests to the server. IDs are text on both sides. What the server refuses becomes a `Refusal`; that it does
// not answer (no connection, restart, too many requests) becomes an `Away`, after which the same may be tried
// again. So does a defect of the server (500), which may be of the moment, or of this request for ever.

export class Refusal extends Error {
  constructor(status, body) {
    super(body.error || `the server answered ${status}`);
    this.status = status;
    this.kind = body.kind || "refused";
    this.body = body;
  }
}

export class Away extends Error {
  constructor(line, waitS = 0, isDefect = false) {
    super(line);
    this.waitS = waitS;
    this.isDefect = isDefect;
  }
}

const PATIENCE_MS = 20000;
let toldOfAway = () => {};

/** Has `tell(line)` called for every request that the server does not answer. */
export function onAway(tell) {
  toldOfAway = tell;
}

let toldOfNews = () => {};

/** Has `tell(answer)` called for every answer that says how far the log of edits has come. */
export function onNews(tell) {
  toldOfNews = tell;
}

const HEADERS = { "X-Requested-By": "proofread", "Content-Type": "application/json" };

/**
 * Sends a request; gives the answer's JSON, or null for an empty one.
 *
 * @throws Refusal, Away
 */
export async function request(method, path, body, how) {
  try {
    return await asked(method, path, body, how);
  } catch (error) {
    if (error instanceof Away) toldOfAway(error.message);
    throw error;
  }
}

async function asked(method, path, body, { keepalive = false } = {}) {
  let response;
  let text;
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), PATIENCE_MS);
  try {
    response = await fetch(path, {
      method,
      headers: HEADERS,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      signal: stop.signal,
      keepalive,
    });
    text = await response.text();
  } catch {
    throw new Away("the server does not answer");
  } finally {
    clearTimeout(timer);
  }
  if (response.status === 429 || response.status >= 500) {
    throw new Away(lineOf(text) || "the server is busy", Number(response.headers.get("Retry-After")) || 0, response.status === 500);
  }
  if (!response.ok) throw new Refusal(response.status, parsed(text) || {});
  const found = text ? parsed(text) : null;
  if (found?.last_edit !== undefined) toldOfNews(found);
  return found;
}

export const get = (path) => request("GET", path);
export const post = (path, body, how) => request("POST", path, body, how);

/** A word that names one request for ever: sent again, it does nothing twice. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function lineOf(text) {
  return parsed(text)?.error;
}
