// Logging in: by the link that the server prints, or by name and password. Over a page in use, when its session
// has ended, it keeps everything that is under way.

import { get, post, Refusal } from "./api.js";
import { byId } from "./dom.js";

const TOKEN = /^#token=(.+)$/;
let waiting = null;

/** Who is logged in: { name, role }. Asks where nobody is. */
export async function person() {
  const token = location.hash.match(TOKEN)?.[1];
  if (token) {
    history.replaceState(null, "", location.pathname);
    try {
      return await post("/api/session", { token: decodeURIComponent(token) });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }
  try {
    return await get("/api/me");
  } catch (error) {
    if (error.status !== 401) throw error;
    return askWho(token ? "The token of this link does not count any more." : "");
  }
}

/** Shows the form; gives a promise of who logged in. Asked several times at once, it asks once. */
export function askWho(line = "Your session has ended. Nothing is lost: log in to go on.") {
  waiting ??= shown(line).finally(() => (waiting = null));
  return waiting;
}

function shown(line) {
  const dialog = byId("login");
  const form = byId("login-form");
  byId("login-line").textContent = line;
  dialog.showModal();
  byId("login-name").focus();
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        const who = await post("/api/session", asked());
        form.reset();
        dialog.close();
        resolve(who);
      } catch (error) {
        byId("login-line").textContent = error.message;
      }
    };
    dialog.oncancel = (event) => event.preventDefault();
  });
}

function asked() {
  const token = byId("login-token").value.trim();
  return token ? { token } : { name: byId("login-name").value.trim(), password: byId("login-password").value };
}
