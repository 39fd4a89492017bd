// Joining two neurons by hand: both are picked in the viewer or named by an ID, seen in their colours, and joined.

import { get, newKey } from "./api.js";
import { button, make, swatch } from "./dom.js";
import { PIECE_A, PIECE_B } from "./modes.js";
import { joinScene, ownerOf } from "./scenes.js";
import { length, pieces } from "./units.js";

const NAMES = ["A", "B"];
const COLORS = [PIECE_A, PIECE_B];

/**
 * Begins to join two neurons.
 *
 * @param first the neuron that is looked at, as A; or null.
 * @param page functions: draw(element), show(scene, how), pick(), notice(line, kind), send(path, body), leave(),
 *   isOpen() (whether a tool is still in hand), force(line) (a promise of whether two cell bodies are to be
 *   joined), done(edit).
 * @returns { key, place, refresh }: what the page calls for keys, for clicks in the viewer, and when others
 *   changed neurons.
 */
export function beginJoin(first, page) {
  const slots = [first ? slotOf(first, first.supervoxels[0]) : {}, {}];
  let active = first ? 1 : 0;
  let isBusy = false;
  let isSending = false;
  let turn = Promise.resolve();

  const both = () => Boolean(slots[0].neuron && slots[1].neuron);
  const isOne = () => both() && slots[0].neuron.id === slots[1].neuron.id;

  async function place(point) {
    if (!point) return page.notice("There is no piece under this point.", "warn");
    await busy(async () => put(slotOf(await ownerOf(point.supervoxel), point.supervoxel, point.point_nm)));
  }

  /** Takes the neuron of an ID; the view goes there, since nobody has pointed at it. */
  async function name(words) {
    await busy(async () => {
      const { neurons } = await get(`/api/search?q=${encodeURIComponent(words)}`);
      const [neuron] = neurons;
      if (neurons.length > 1) page.notice(`${words} is now in ${neurons.map((each) => each.id).join(", ")}; this is the first.`);
      const piece = neuron.supervoxels.includes(words) ? words : neuron.supervoxels[0];
      put(slotOf(neuron, piece));
      page.show({ ...joinScene(slots), point_nm: neuron.point_nm }, { stay: !neuron.point_nm });
    });
  }

  function put(slot) {
    slots[active] = slot;
    if (!slots[1 - active].neuron) active = 1 - active;
    if (isOne()) page.notice("These two are one neuron already.", "warn");
  }

  function choose(slot) {
    active = slot;
    draw();
  }

  function clear() {
    const slot = slots[active].neuron ? active : 1 - active;
    slots[slot] = {};
    active = slot;
    draw();
  }

  async function commit(force = false) {
    if (!both()) return page.notice("Choose both neurons first.", "warn");
    if (isOne()) return page.notice("These two are one neuron already.", "warn");
    if (isSending) return;
    isSending = true;
    let line = "";
    await busy(async () => {
      try {
        page.done(await page.send("/api/edits/merge", asked(force)));
      } catch (error) {
        if (error.kind !== "soma") throw error;
        line = error.message;
      }
    });
    isSending = false;
    if (line && (await page.force(line))) return commit(true);
  }

  /** The merge as it is sent, with the neurons as they are shown. */
  function asked(force) {
    const [a, b] = slots;
    return {
      a: a.supervoxel,
      b: b.supervoxel,
      ...(a.point_nm && { point_a_nm: a.point_nm }),
      ...(b.point_nm && { point_b_nm: b.point_nm }),
      expected: { [a.neuron.id]: a.neuron.version, [b.neuron.id]: b.neuron.version },
      key: newKey(),
      force,
    };
  }

  /** One piece of work after the other: none is lost because another is under way. */
  function busy(work) {
    turn = turn.then(() => doNow(work));
    return turn;
  }

  async function doNow(work) {
    isBusy = true;
    try {
      await work();
    } catch (error) {
      page.notice(error.message, "error");
      if (error.kind === "conflict") await lookAnew();
    } finally {
      isBusy = false;
      draw();
    }
  }

  async function lookAnew() {
    for (const [index, slot] of slots.entries()) {
      if (slot.neuron) slots[index] = slotOf(await ownerOf(slot.supervoxel), slot.supervoxel, slot.point_nm);
    }
  }

  /** Others changed neurons. */
  async function refresh(changed) {
    if (isBusy || !slots.some(({ neuron }) => neuron && changed.has(neuron.id))) return;
    await busy(lookAnew);
    page.notice("A neuron was changed by somebody else: this is how it is now.", "warn");
  }

  function key(pressed) {
    if (pressed === "1" || pressed === "2") choose(Number(pressed) - 1);
    else if (pressed === "p") place(page.pick());
    else if (pressed === "Backspace") clear();
    else if (pressed === "/") document.getElementById("join-id").select();
    else if (pressed === "Enter") commit();
    else if (pressed === "Escape") page.leave();
    else return false;
    return true;
  }

  function draw() {
    if (!page.isOpen()) return;
    page.show(joinScene(slots));
    page.draw(panel());
  }

  function panel() {
    const ready = both() && !isOne() && !isBusy;
    return make(
      "section",
      { "aria-label": "Join two neurons by hand", "data-ready": String(ready) },
      make("p.hint", {}, ready ? "Are the orange and the blue neuron one cell? Enter joins them." : "Choose two neurons: point at each, or type its ID."),
      ...NAMES.map((_, slot) => slotPanel(slot)),
      idForm(),
      make(
        "div.row",
        {},
        button("Pick", "P", () => place(page.pick()), { title: "at the mouse, or at the centre; or Shift+click", label: "Pick the piece at the mouse or at the centre" }),
        button("Take back", "⌫", clear, { label: "Take the chosen neuron back" }),
      ),
      make(
        "div.answers",
        {},
        button("Join them", "Enter", () => commit(), { kind: "answer yes", id: "join-commit", disabled: !ready }),
        button("Leave", "Esc", page.leave),
      ),
    );
  }

  function slotPanel(slot) {
    const { neuron, supervoxel } = slots[slot];
    const head = button(`Neuron ${NAMES[slot]}`, String(slot + 1), () => choose(slot), { kind: "choice", "aria-pressed": String(active === slot) });
    head.prepend(swatch(COLORS[slot]));
    const bodies = neuron?.somas.length ? ` · ${neuron.somas.length} cell ${neuron.somas.length === 1 ? "body" : "bodies"}` : "";
    const told = neuron
      ? make("p.small", {}, make("b", {}, neuron.id), ` · piece ${supervoxel} · ${pieces(neuron.supervoxels.length)}, ${length(neuron.length_nm)}${bodies}`)
      : make("p.small", {}, "not chosen yet");
    return make(`div.split-side${active === slot ? ".active" : ""}`, {}, head, told);
  }

  function idForm() {
    const field = make("input", {
      id: "join-id",
      type: "text",
      inputmode: "numeric",
      autocomplete: "off",
      maxlength: "20",
      placeholder: `ID for ${NAMES[active]}`,
      "aria-label": `Neuron or piece ID for ${NAMES[active]}`,
      "aria-keyshortcuts": "/",
      onkeydown: (event) => event.key === "Escape" && field.blur(),
    });
    const onsubmit = (event) => {
      event.preventDefault();
      field.blur();
      if (field.value.trim()) name(field.value.trim());
    };
    return make("form.field", { onsubmit }, make("span", {}, make("kbd", { "aria-hidden": "true" }, "/"), " or an ID"), field);
  }

  draw();
  return { key, place, refresh };
}

function slotOf(neuron, supervoxel, point_nm = null) {
  return { neuron, supervoxel, point_nm };
}
