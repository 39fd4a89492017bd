// The overlay of keys.

import { byId, make } from "./dom.js";

const KEYS = [
  [
    "Answer",
    [
      ["Y", "yes: what the band at the top asks"],
      ["N", "no"],
      ["U", "don't know: somebody else is asked"],
      ["S", "skip: asked again later"],
      ["M", "write a comment, which goes with the answer; Enter goes back"],
      ["Z", "take back what I did last: an edit, or an answer"],
    ],
  ],
  [
    "Look",
    [
      ["C", "context: all other pieces, faintly"],
      ["R", "back to the decision point, at the first zoom and from the first side"],
      ["V", "turn the 3-D view by a quarter; with the mouse: drag"],
      ["L", "next layout: four panels, 3-D, slice and 3-D, slice"],
      ["← → ↑ ↓", "move in the plane; with the mouse: drag"],
      [", .", "move along z; with the mouse: wheel, Ctrl+wheel to zoom"],
      ["/", "look for a neuron or piece by its ID"],
      ["Esc", "back to the task"],
    ],
  ],
  [
    "Split",
    [
      ["T", "begin"],
      ["1 2", "side A, side B"],
      ["Shift+click", "put a point on that side"],
      ["P", "the same, at the mouse or at the centre"],
      ["⌫", "take the last point back"],
      ["Enter", "preview, then commit"],
      ["Esc", "change points, then leave"],
    ],
  ],
  [
    "Merge by hand",
    [
      ["J", "begin; the neuron that is looked at is A"],
      ["1 2", "neuron A, neuron B"],
      ["Shift+click", "choose it; P does so at the mouse or at the centre"],
      ["/", "choose it by its ID"],
      ["Enter", "join them"],
    ],
  ],
  [
    "Page",
    [
      ["H", "history of edits and answers, with undo and redo"],
      ["?", "these keys"],
    ],
  ],
];

/** Fills the overlay. */
export function fillHelp() {
  const groups = KEYS.map(([title, keys]) =>
    make("section", {}, make("h3", {}, title), make("dl", {}, ...keys.flatMap(([key, words]) => [make("dt", {}, ...key.split(" ").map((each) => make("kbd", {}, each))), make("dd", {}, words)]))),
  );
  byId("help-keys").replaceChildren(...groups);
}
