// The log of edits, the latest first: who, what, when, why; any of them is undone or done again from here.

import { get } from "./api.js";
import { button, byId, make } from "./dom.js";
import { ago } from "./units.js";

const AT_ONCE = 40;
const WORDS = {
  merge: "joined",
  split: "cut",
  supervoxel_split: "cut through a piece",
  undo: "undid",
  redo: "did again",
};

/**
 * Makes the drawer.
 *
 * @param change does an undo or redo: change("undo", edit), gives a promise.
 * @param look shows a neuron by its ID.
 * @param mayEdit whether this person may.
 */
export function makeHistory({ change, look, mayEdit }) {
  const list = byId("history-list");
  let edits = [];
  let neuron = "";

  async function load(more = false) {
    const before = more && edits.length ? `&before=${edits.at(-1).id}` : "";
    const of = neuron ? `&neuron=${neuron}` : "";
    const found = (await get(`/api/edits?limit=${AT_ONCE}${before}${of}`)).edits;
    edits = more ? [...edits, ...found] : found;
    draw(found.length === AT_ONCE);
  }

  function draw(hasMore) {
    const rows = edits.map(row);
    if (!rows.length) rows.push(make("li.nothing", {}, "No edits yet."));
    if (hasMore) rows.push(make("li", {}, button("Earlier ones", "", () => load(true))));
    list.replaceChildren(...rows);
  }

  function row(edit) {
    const isChange = edit.kind !== "undo" && edit.kind !== "redo";
    const undone = edit.undone_by !== null;
    const neurons = [...new Set([...edit.neurons_after, ...edit.neurons_before])];
    const what = isChange ? WORDS[edit.kind] : `${WORDS[edit.kind]} edit ${edit.target}`;
    const told = `${edit.neurons_before.join(" + ")} → ${edit.neurons_after.join(" + ")}`;
    const act = undone ? "redo" : "undo";
    const acts = [
      mayEdit && isChange && button(undone ? "Redo" : "Undo", "", () => act_on(act, edit), {
        kind: act,
        label: `${undone ? "Redo" : "Undo"} edit ${edit.id}`,
      }),
      button("Look", "", () => look(neurons[0]), { label: `Look at neuron ${neurons[0]}` }),
    ];
    return make(
      `li.edit${undone ? ".undone" : ""}`,
      { "data-edit": edit.id, "data-kind": edit.kind },
      make(
        "div.edit-what",
        {},
        make("b", {}, what),
        ` ${told}`,
        edit.forced && make("span.forced", {}, " forced"),
        undone && make("span.tag", {}, ` undone by ${edit.undone_by}`),
      ),
      make("div.edit-who", { title: edit.at }, `#${edit.id} · ${edit.person} · ${ago(edit.at)}`),
      edit.reason && make("div.edit-why", {}, edit.reason),
      make("div.edit-acts", {}, ...acts),
    );
  }

  async function act_on(act, edit) {
    await change(act, edit);
    await load();
  }

  /** Shows the drawer with all edits, or with those of a neuron. */
  function open(of = "") {
    neuron = of;
    byId("history-of").textContent = of ? `of neuron ${of}` : "";
    byId("history").hidden = false;
    byId("history-button").setAttribute("aria-expanded", "true");
    byId("history-close").focus();
    return load();
  }

  function close() {
    byId("history").hidden = true;
    byId("history-button").setAttribute("aria-expanded", "false");
  }

  byId("history-close").addEventListener("click", close);
  return { open, close, isOpen: () => !byId("history").hidden, load, latest: () => edits[0] };
}
