// What the page can be in the middle of. Colours tell apart for all kinds of colour vision (Okabe and Ito,
// https://jfly.uni-koeln.de/color/), and no mode is told by its colour alone: each has a word of its own.

export const PIECE_A = "#e69f00";
export const PIECE_B = "#56b4e9";
export const STAYS = "#cc79a7";
export const PLAIN = "#d9dde3";
export const POINT = "#ffffff";

export const MODES = {
  join: {
    word: "Join?",
    question: "Are the orange and the blue piece one cell?",
    yes: "Yes, one cell: join them",
    no: "No, two cells: leave them apart",
    guess: "one cell",
  },
  refused: {
    word: "Join?",
    question: "Two cell bodies would come together. Does the blue piece belong to the orange cell?",
    yes: "Yes: cut it off, join it here",
    no: "No, leave it where it is",
    guess: "one cell",
  },
  merger: {
    word: "Cut?",
    question: "Are the orange and the blue part two cells?",
    yes: "Yes, two cells: cut here",
    no: "No, one cell: leave it whole",
    guess: "two cells",
  },
  end: {
    word: "End?",
    question: "Does the orange cell go on beyond the mark?",
    yes: "Yes, it goes on in the blue piece",
    no: "No, it ends here",
    guess: "it goes on",
  },
  split: { word: "Split", question: "Put points on both sides of the cut, preview it, then commit." },
  hand: { word: "Merge", question: "Choose two neurons, see both in colour, then join them." },
  look: { word: "Look", question: "This is one neuron. No task is being answered." },
  wait: { word: "Wait", question: "" },
};

const WORDS_OF_EVIDENCE = {
  certainty: ["certainty of the merge", percentOf],
  iou: ["overlap of the two floods", percentOf],
  contact_faces: ["contact", (value) => `${Math.round(value)} faces`],
  distance_nm: ["distance", (value) => `${Math.round(value)} nm`],
  direction_agreement: ["direction agrees", (value) => value.toFixed(2)],
  joined_in_passes: ["one object in passes", percentOf],
  parted_in_passes: ["two objects in passes", percentOf],
  crossing: ["arms cross straight", (value) => value.toFixed(2)],
  merges: ["held together by", (value) => `${value} merges`],
  left_out: ["left out because of", String],
  flag: ["reason", (value) => String(value).replaceAll("_", " ")],
  detail: ["", String],
  somas: ["cell bodies", (value) => value.join(", ")],
};

/** The evidence of a task in words: pairs of a name and a value. */
export function evidenceOf(task) {
  return Object.entries(WORDS_OF_EVIDENCE)
    .filter(([name]) => task.evidence[name] !== undefined && task.evidence[name] !== "")
    .map(([name, [words, shown]]) => [words, shown(task.evidence[name])]);
}

/** Whether accepting a task needs a cut that somebody makes by hand. */
export function isByHand(task) {
  return task.kind === "merger" && !(task.evidence.side_a?.length && task.evidence.side_b?.length);
}

function percentOf(value) {
  return `${Math.round(100 * value)} %`;
}
