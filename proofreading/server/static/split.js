// Splitting a neuron by hand: points on both sides, a preview of what the cut would do, and the commit.

import { newKey } from "./api.js";
import { button, make, swatch } from "./dom.js";
import { PIECE_A, PIECE_B } from "./modes.js";
import { ownerOf, previewOf, splitScene } from "./scenes.js";
import { length, pieces } from "./units.js";

const SIDES = ["A", "B"];
const COLORS = [PIECE_A, PIECE_B];

/**
 * Begins a split.
 *
 * @param start neuron (as the server knows it; null = that of the first point), others (neurons that are shown
 *   until then).
 * @param page functions: draw(element), show(scene), pick(), notice(line, kind), send(path, body), leave(),
 *   done(edit, isReadAnew).
 * @returns { key, place, refresh }: what the page calls for keys, for clicks in the viewer, and when others
 *   changed neurons.
 */
export function beginSplit({ neuron, others }, page) {
  let sides = [[], []];
  let active = 0;
  let preview = null;
  let isBusy = false;
  const isGiven = Boolean(neuron);

  async function place(point) {
    if (isBusy) return;
    if (!point) return page.notice("There is no piece under this point.", "warn");
    const mine = neuron?.supervoxels.includes(point.supervoxel);
    if (!mine && (isGiven || sides.flat().length)) {
      return page.notice(`Piece ${point.supervoxel} is of another neuron than the one that is split.`, "warn");
    }
    if (!mine) neuron = await ownerOf(point.supervoxel);
    sides[active].push(point);
    preview = null;
    draw();
  }

  function removeLast() {
    const side = sides[active].length ? active : 1 - active;
    sides[side].pop();
    active = side;
    preview = null;
    draw();
  }

  function remove(side, index) {
    sides[side].splice(index, 1);
    preview = null;
    draw();
  }

  function choose(side) {
    active = side;
    draw();
  }

  async function look() {
    if (!sides[0].length || !sides[1].length) return page.notice("Put at least one point on each side.", "warn");
    await busy(async () => {
      preview = await previewOf(neuron.id, ...sides);
    });
  }

  async function commit() {
    await busy(async () => {
      const body = {
        neuron: neuron.id,
        side_a: sides[0],
        side_b: sides[1],
        expected: { [neuron.id]: neuron.version },
        key: newKey(),
      };
      const edit = await page.send("/api/edits/split", body);
      page.done(edit, Boolean(preview.needs_supervoxel_split));
    });
  }

  async function busy(work) {
    if (isBusy) return;
    isBusy = true;
    draw();
    try {
      await work();
    } catch (error) {
      page.notice(error.message, "error");
      preview = null;
      if (error.kind === "conflict") await lookAnew();
    } finally {
      isBusy = false;
      draw();
    }
  }

  /** After a conflict: the neuron as it is now, with the points that are still its own. */
  async function lookAnew() {
    neuron = await ownerOf(sides.flat()[0]?.supervoxel ?? neuron.supervoxels[0]);
    const known = new Set(neuron.supervoxels);
    sides = sides.map((side) => side.filter(({ supervoxel }) => known.has(supervoxel)));
  }

  /** Others changed neurons. */
  async function refresh(changed) {
    if (isBusy || !neuron || !changed.has(neuron.id)) return;
    await busy(lookAnew);
    preview = null;
    page.notice("The neuron was changed by somebody else: this is how it is now.", "warn");
    draw();
  }

  function key(name) {
    if (name === "1" || name === "2") choose(Number(name) - 1);
    else if (name === "p") place(page.pick());
    else if (name === "Backspace") removeLast();
    else if (name === "Enter") preview ? commit() : look();
    else if (name === "Escape") preview ? withdraw() : page.leave();
    else return false;
    return true;
  }

  function withdraw() {
    preview = null;
    draw();
  }

  function draw() {
    page.show(splitScene(neuron, others, sides, preview));
    page.draw(panel());
  }

  function panel() {
    const head = neuron
      ? make("p.hint", {}, `Neuron ${neuron.id}: ${pieces(neuron.supervoxels.length)}, ${length(neuron.length_nm)}`)
      : make("p.hint", {}, "The first point says which neuron is split.");
    const next = preview
      ? button("Commit the split", "Enter", commit, { kind: "answer yes", id: "split-commit", disabled: isBusy })
      : button("Preview", "Enter", look, { kind: "answer", id: "split-preview", disabled: isBusy });
    return make(
      "section",
      { "aria-label": "Split a neuron", "data-preview": String(Boolean(preview)) },
      head,
      ...SIDES.map((_, side) => sideOf(side)),
      make(
        "div.row",
        {},
        button("Put a point", "P", () => place(page.pick()), { title: "at the mouse, or at the centre; or Shift+click" }),
        button("Take back", "⌫", removeLast, { label: "Take the last point back" }),
      ),
      preview && outcome(),
      make("div.answers", {}, next, button(preview ? "Change points" : "Leave", "Esc", preview ? withdraw : page.leave)),
    );
  }

  function sideOf(side) {
    const points = sides[side].map((point, index) =>
      make(
        "li",
        {},
        `piece ${point.supervoxel}`,
        button("×", "", () => remove(side, index), { kind: "small", label: `Remove point ${index + 1} of side ${SIDES[side]}` }),
      ),
    );
    const words = `Side ${SIDES[side]}`;
    const head = button(words, String(side + 1), () => choose(side), { kind: "choice", "aria-pressed": String(active === side) });
    head.prepend(swatch(COLORS[side]));
    const list = points.length ? points : [make("li.nothing", {}, "no points yet")];
    return make(`div.split-side${active === side ? ".active" : ""}`, {}, head, make("ul", {}, ...list));
  }

  function outcome() {
    const cut = preview.edges.length;
    const lines = [`Cuts ${cut} ${cut === 1 ? "merge" : "merges"} (weight ${preview.cost.toFixed(2)}).`];
    const shared = preview.needs_supervoxel_split;
    if (shared) {
      const voxels = preview.supervoxel_parts?.voxels.join(" + ");
      lines.push(`Both sides lie in piece ${shared}: it is split itself${voxels ? `, ${voxels} voxels` : ""}.`);
    }
    return make(
      "div.preview",
      { role: "status" },
      make("h3", {}, "Preview: nothing is changed yet"),
      ...preview.parts.map((part, side) =>
        make("p", {}, swatch(COLORS[side]), ` ${SIDES[side]}: ${pieces(part.length)}`),
      ),
      make("p.hint", {}, lines.join(" ")),
    );
  }

  draw();
  return { key, place, refresh };
}
