// Elements in few words.

const MOST_TOASTS = 3;

export const byId = (id) => document.getElementById(id);

/**
 * Makes an element.
 *
 * @param tag its name, with classes after dots: "button.answer.yes".
 * @param attributes attributes, and functions for events: { title: "…", onclick: () => … }; false leaves one out.
 * @param children elements and texts.
 */
export function make(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

/** Fills the panel; a control that was reached by keys keeps the focus where it is there again. */
export function drawPanel(...children) {
  const panel = byId("panel");
  const focused = panel.contains(document.activeElement) && document.activeElement.matches(":focus-visible");
  const name = focused ? nameOf(document.activeElement) : null;
  panel.replaceChildren(...children);
  if (name) [...panel.querySelectorAll("button, input")].find((each) => nameOf(each) === name)?.focus();
}

const nameOf = (element) => element.id || element.getAttribute("aria-label");

/** A button with its key beside its words. */
export function button(words, key, onclick, { kind = "", label = words, ...more } = {}) {
  const keys = key ? [make("kbd", { "aria-hidden": "true" }, key)] : [];
  const classes = ["button", ...kind.split(" ").filter(Boolean)].join(".");
  const shortcut = key ? { "aria-keyshortcuts": key } : {};
  return make(classes, { type: "button", "aria-label": label, onclick, ...shortcut, ...more }, ...keys, make("span", {}, words));
}

/** A square in a piece's colour. */
export function swatch(color, letter = "") {
  const element = make("span.swatch", { "aria-hidden": "true" }, letter);
  element.style.setProperty("--color", color);
  return element;
}

/** Tells something for a moment; screen readers read it. */
export function toast(line, kind = "info") {
  const element = make(`div.toast.${kind}`, { role: kind === "error" ? "alert" : "status" }, line);
  byId("toasts").append(element);
  if (byId("toasts").childElementCount > MOST_TOASTS) byId("toasts").firstElementChild.remove();
  setTimeout(() => element.remove(), kind === "info" ? 5000 : 9000);
}

/**
 * Asks in a dialog.
 *
 * @param choices pairs of the word that is answered and the words on the button; the last one is the careful one.
 * @returns a promise of the word, "" for Escape.
 */
export function ask(title, line, choices) {
  const dialog = byId("ask");
  dialog.returnValue = "";
  const buttons = choices.map(([word, words, kind = ""]) => button(words, "", () => dialog.close(word), { kind }));
  dialog.replaceChildren(make("h2", { id: "ask-title" }, title), make("p", { id: "ask-line" }, line), make("div.choices", {}, ...buttons));
  dialog.showModal();
  buttons.at(-1).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}
