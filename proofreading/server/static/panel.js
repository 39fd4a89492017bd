// The panel beside the viewer: the pieces of a task, what speaks for it, and the answers with their keys.

import { button, make, swatch } from "./dom.js";
import { evidenceOf, isByHand, MODES, PIECE_A, PIECE_B, STAYS } from "./modes.js";
import { count, length, percent, pieces } from "./units.js";

// Versions count anew with every agglomeration, from a multiple of this on.
const OF_ONE_BASE = 2 ** 32;

/**
 * The panel of a task.
 *
 * @param task with `about` and `preview` (`withScene`).
 * @param partner the neuron in which a loose end goes on, if one was picked.
 * @param act functions: answer(verdict), split(), pick(), look(neuron).
 * @param mayAnswer whether this person may.
 */
export function taskPanel(task, partner, act, mayAnswer) {
  const mode = MODES[task.kind];
  const needsPartner = task.kind === "end" && !partner;
  const yes = isByHand(task) ? "Yes, two cells: cut by hand" : mode.yes;
  const kind = needsPartner ? "answer yes waiting" : "answer yes";
  const answers = [
    button(yes, "Y", () => act.answer("accept"), { kind, disabled: !mayAnswer, id: "answer-accept" }),
    button(mode.no, "N", () => act.answer("reject"), { kind: "answer no", disabled: !mayAnswer, id: "answer-reject" }),
    make(
      "div.row",
      {},
      button("Don't know", "U", () => act.answer("unknown"), { disabled: !mayAnswer, id: "answer-unknown" }),
      button("Skip", "S", () => act.answer("skip"), { disabled: !mayAnswer, id: "answer-skip" }),
    ),
  ];
  return make(
    "section",
    { "aria-label": `Task ${task.id}` },
    make("ul.pieces", { "aria-label": "Pieces" }, ...piecesOf(task, partner, act)),
    needsPartner &&
      make("p.hint", {}, "Does it go on? Shift+click the piece that it goes on in, or point at it and press ", make("kbd", {}, "P"), "."),
    make("div.answers", { role: "group", "aria-label": "Answers" }, ...answers),
    comments(task),
    worth(task, mode),
    evidence(task),
  );
}

function piecesOf(task, partner, act) {
  const [a, b] = task.about;
  if (task.kind === "join") return [piece("A", PIECE_A, a, act), piece("B", PIECE_B, b, act)];
  if (task.kind === "end") return [piece("A", PIECE_A, a, act), partner && piece("B", PIECE_B, partner, act)];
  if (task.kind === "merger" && !task.preview) return [piece("A", PIECE_A, a, act)];
  if (task.kind === "merger") return task.preview.parts.map((part, side) => partOf(side, part, task.preview, a));
  if (!task.preview) return [piece("A", PIECE_A, a, act), piece("B", PIECE_B, b, act)];
  const loses = task.evidence.loses === task.supervoxels[0] ? 0 : 1;
  return [
    piece("A", PIECE_A, task.about[1 - loses], act),
    partOf(1, task.preview.parts[0], task.preview, task.about[loses]),
    make("li.piece", {}, swatch(STAYS, "C"), make("div", {}, make("b", {}, "stays"), " as it is: the rest of that neuron")),
  ];
}

function piece(letter, color, neuron, act) {
  if (!neuron) return make("li.piece", {}, swatch(color, letter), "is no more");
  const somas = neuron.somas.length;
  const bodies = somas ? ` · ${somas} cell ${somas === 1 ? "body" : "bodies"}` : "";
  return make(
    "li.piece",
    {},
    swatch(color, letter),
    make(
      "div",
      {},
      make("button.link", { type: "button", onclick: () => act.look(neuron.id), "aria-label": `Look at neuron ${neuron.id} alone` }, neuron.id),
      make("div.small", {}, `${length(neuron.length_nm)} · ${pieces(neuron.supervoxels.length)}${bodies}`),
    ),
  );
}

function partOf(side, part, preview, neuron) {
  const voxels = preview.needs_supervoxel_split && preview.supervoxel_parts?.voxels[side];
  const size = voxels ? `about ${count(voxels)} voxels of piece ${preview.needs_supervoxel_split}` : `of neuron ${neuron?.id}`;
  return make(
    "li.piece",
    {},
    swatch(side ? PIECE_B : PIECE_A, side ? "B" : "A"),
    make("div", {}, make("b", {}, pieces(part.length)), make("div.small", {}, size)),
  );
}

function worth(task, mode) {
  const share = percent(task.probability);
  const bar = make("div.meter", { role: "img", "aria-label": `${mode.guess}: ${share}` });
  bar.style.setProperty("--share", share.replace(" ", ""));
  return make(
    "div.worth",
    {},
    make("div.pair", {}, make("span", {}, `likely ${mode.guess}`), make("b", {}, share)),
    bar,
    make("div.pair", {}, make("span", {}, "worth"), make("b", {}, `${length(task.value_nm)} ERL · about ${Math.round(task.seconds)} s`)),
  );
}

/** What others said of the task. */
function comments(task) {
  if (!task.said?.length) return null;
  const lines = task.said.map(({ person, at, words }) => make("li.comment", {}, make("b", {}, person), ` ${words} `, make("span.small", {}, at.slice(0, 10))));
  return make("ul.comments", { "aria-label": "Comments" }, ...lines);
}

function evidence(task) {
  const rows = evidenceOf(task).map(([words, value]) => make("div.pair", {}, make("span", {}, words), make("b", {}, value)));
  if (!rows.length) return null;
  return make("details.evidence", { open: true }, make("summary", {}, "Evidence"), ...rows);
}

/** The panel of a neuron that was looked for. */
export function neuronPanel(neuron, act, mayAnswer) {
  const pairs = [
    ["neuron", neuron.id],
    ["length", length(neuron.length_nm)],
    ["pieces", count(neuron.supervoxels.length)],
    ["voxels", count(neuron.voxels)],
    ["cell bodies", String(neuron.somas.length)],
    ["last edit", neuron.version % OF_ONE_BASE ? `#${neuron.version % OF_ONE_BASE}` : "none"],
  ];
  return make(
    "section",
    { "aria-label": `Neuron ${neuron.id}`, id: "neuron-panel" },
    ...pairs.map(([words, value]) => make("div.pair", {}, make("span", {}, words), make("b", {}, value))),
    make(
      "div.answers",
      {},
      button("Split this neuron", "T", act.split, { disabled: !mayAnswer }),
      button("Its history", "H", () => act.history(neuron.id)),
      button("Back", "Esc", act.back),
    ),
  );
}

/** A panel that only tells something. */
export function plainPanel(title, line, ...buttons) {
  return make("section", { "aria-label": title }, make("h2", {}, title), make("p.hint", {}, line), make("div.answers", {}, ...buttons));
}
