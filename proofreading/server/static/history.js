// What people did, the latest first: who, what, when, why. Edits are undone or done again from here, and answers
// that changed no neuron are taken back.

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
const VERDICTS = { accept: "yes", reject: "no", unknown: "don't know" };
const QUESTIONS = { join: "One cell?", refused: "One cell?", merger: "Two cells?", end: "Does it go on?" };

/**
 * Makes the drawer.
 *
 * @param change does an undo or redo: change("undo", edit), gives a promise.
 * @param takeBack takes an answer back, gives a promise.
 * @param look shows a neuron by its ID.
 * @param me who is logged in.
 */
export function makeHistory({ change, takeBack, look, me }) {
  const list = byId("history-list");
  const mayEdit = me.role !== "read";
  let edits = none();
  let answers = none();
  let neuron = "";

  async function load(more = false) {
    if (!more) [edits, answers] = [none(), none()];
    const of = neuron ? `&neuron=${neuron}` : "";
    [edits, answers] = await Promise.all([
      further(edits, `/api/edits?${of}`, "edits"),
      // Answers are about supervoxels: of one neuron only the edits are shown.
      neuron ? none(false) : further(answers, "/api/answers?", "answers"),
    ]);
    draw();
  }

  function draw() {
    // Rows of the list that goes less far back would be missing beyond its end.
    const ends = [edits, answers].filter((each) => each.hasMore).map((each) => each.rows.at(-1).at);
    const from = ends.sort().at(-1) ?? "";
    // An answer that made an edit stands with that.
    const shown = [
      ...edits.rows.map((edit) => [edit.at, () => editRow(edit)]),
      ...answers.rows.filter((given) => given.edit === null).map((given) => [given.at, () => answerRow(given)]),
    ].filter(([at]) => at >= from);
    shown.sort(([one], [other]) => (one < other ? 1 : one > other ? -1 : 0));
    const rows = shown.map(([, row]) => row());
    if (!rows.length) rows.push(make("li.nothing", {}, "Nothing was done yet."));
    if (from) rows.push(make("li", {}, button("Earlier ones", "", () => load(true))));
    list.replaceChildren(...rows);
  }

  function editRow(edit) {
    const isChange = edit.kind !== "undo" && edit.kind !== "redo";
    const undone = edit.undone_by !== null;
    const neurons = [...new Set([...edit.neurons_after, ...edit.neurons_before])];
    const what = isChange ? WORDS[edit.kind] : `${WORDS[edit.kind]} edit ${edit.target}`;
    const told = `${edit.neurons_before.join(" + ")} → ${edit.neurons_after.join(" + ")}`;
    const act = undone ? "redo" : "undo";
    const acts = [
      mayEdit && isChange && button(undone ? "Redo" : "Undo", "", () => actOn(change(act, edit)), {
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
      make("div.edit-who", { title: edit.at }, `#${edit.id} · ${edit.person} · ${ago(edit.at)}${edit.task ? " · a task" : ""}`),
      edit.reason && make("div.edit-why", {}, edit.reason),
      make("div.edit-acts", {}, ...acts),
    );
  }

  function answerRow(given) {
    const pieces = given.supervoxels.filter((id) => id !== "0");
    const mayTakeBack = given.can_be_withdrawn && mayEdit && (given.person === me.name || me.role === "admin");
    const word = VERDICTS[given.verdict];
    const back = given.withdrawn_by ? ` taken back by ${given.withdrawn_by}, ${ago(given.withdrawn_at)}` : " was not carried out";
    const acts = [
      mayTakeBack && button("Take back", "", () => actOn(takeBack(given)), {
        kind: "take-back",
        label: `Take back the answer "${word}" about ${pieces.join(" and ")}`,
      }),
      button("Look", "", () => look(pieces[0]), { label: `Look at piece ${pieces[0]}` }),
    ];
    return make(
      `li.edit${given.counts ? "" : ".undone"}`,
      { "data-answer": given.id, "data-task": given.task, "data-verdict": given.verdict },
      make(
        "div.edit-what",
        {},
        `${QUESTIONS[given.kind]} ${pieces.join(" + ")}: `,
        make("b", {}, word),
        !given.counts && make("span.tag", {}, back),
      ),
      make("div.edit-who", { title: given.at }, `${given.person} · ${ago(given.at)}`),
      given.comment && make("div.edit-why", {}, given.comment),
      make("div.edit-acts", {}, ...acts),
    );
  }

  async function actOn(doing) {
    await doing;
    await load();
  }

  /** Shows the drawer with everything, or with the edits of a neuron. */
  function open(of = "") {
    neuron = of;
    byId("history-of").textContent = of ? `of neuron ${of}` : "";
    byId("history").hidden = false;
    byId("history-button").setAttribute("aria-expanded", "true");
    byId("history-close").focus();
    return load();
  }

  function close() {
    if (byId("history").contains(document.activeElement)) document.activeElement.blur();
    byId("history").hidden = true;
    byId("history-button").setAttribute("aria-expanded", "false");
  }

  byId("history-close").addEventListener("click", close);
  return { open, close, isOpen: () => !byId("history").hidden, load };
}

/** A list that was read as far as `rows`. */
function none(hasMore = true) {
  return { rows: [], hasMore };
}

async function further(known, path, name) {
  if (!known.hasMore) return known;
  const before = known.rows.length ? `&before=${known.rows.at(-1).id}` : "";
  const found = (await get(`${path}&limit=${AT_ONCE}${before}`))[name];
  return { rows: [...known.rows, ...found], hasMore: found.length === AT_ONCE };
}
