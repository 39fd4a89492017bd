// What the viewer shows of a task, a neuron or a split; pure functions, and the requests they need.

import { get, post, Refusal } from "./api.js";
import { isByHand, PIECE_A, PIECE_B, PLAIN, POINT, STAYS } from "./modes.js";

/** A neuron as the server knows it now; null where there is none of this ID any more. */
export async function neuronOf(id) {
  const found = await get(`/api/neurons/${id}`);
  return found.supervoxels ? found : null;
}

/** The neuron of a supervoxel now. */
export async function ownerOf(supervoxel) {
  const { neurons } = await get(`/api/search?q=${supervoxel}`);
  const found = neurons.find((each) => each.supervoxels?.includes(supervoxel));
  return found ?? neuronOf(neurons[0].id);
}

/**
 * A task with all that the page shows of it: `about` (its neurons, in the order of the task), `preview` (of the
 * cut that it proposes), `said` (comments) and `scene`.
 */
export async function withScene(task) {
  const ids = [...new Set(task.neurons)].filter((id) => id !== "0");
  const found = new Map(await Promise.all(ids.map(async (id) => [id, await neuronOf(id)])));
  const about = task.neurons.map((id) => found.get(id) ?? null);
  const [preview, said] = await Promise.all([proposedCut(task), commentsOn(task)]);
  return { ...task, about, preview, said, scene: sceneOf(task, about, preview) };
}

/** What others wrote about a task. */
async function commentsOn(task) {
  return task.comments ? (await get(`/api/tasks/${task.id}/comments`)).comments : [];
}

/** The cut that accepting a task would make; null where it makes none. */
async function proposedCut(task) {
  const { side_a, side_b } = task.evidence;
  if (isByHand(task) || !side_a?.length || !side_b?.length) return null;
  const neuron = task.kind === "merger" ? task.neurons[0] : neuronThatLoses(task);
  try {
    return await previewOf(neuron, side_a.map(placed), side_b.map(placed));
  } catch (error) {
    if (error instanceof Refusal) return null;
    throw error;
  }
}

function neuronThatLoses(task) {
  return task.neurons[task.evidence.loses === task.supervoxels[0] ? 0 : 1];
}

/** What a split would do. */
export function previewOf(neuron, side_a, side_b) {
  return post("/api/edits/split/preview", { neuron, side_a, side_b });
}

function placed([supervoxel, point_nm]) {
  return { supervoxel: String(supervoxel), point_nm };
}

/** The scene of a task. */
export function sceneOf(task, about, preview, partner = null) {
  const [a, b] = about.map((each) => each?.supervoxels ?? []);
  const marks = [{ point_nm: task.point_nm, color: POINT }];
  const ends = about.map((each) => each?.point_nm).filter(Boolean);
  const apart = task.kind !== "end" && ends.length === 2 ? ends : null;
  const scene = (groups) => ({ groups, marks, point_nm: task.point_nm, apart });
  if (task.kind === "end") {
    const on = partner ? [{ ids: partner.supervoxels, color: PIECE_B }] : [];
    return scene([{ ids: a, color: PIECE_A }, ...on]);
  }
  if (task.kind === "merger" && preview) return cutScene(preview, a, marks, task);
  if (task.kind === "merger") return scene([{ ids: a, color: PIECE_A }]);
  if (task.kind === "refused" && preview) {
    const loses = neuronThatLoses(task) === task.neurons[0] ? 0 : 1;
    const moved = new Set(preview.parts[0]);
    const mine = [a, b][loses];
    return scene([
      { ids: [a, b][1 - loses], color: PIECE_A },
      { ids: mine.filter((id) => moved.has(id)), color: PIECE_B },
      { ids: mine.filter((id) => !moved.has(id)), color: STAYS },
    ]);
  }
  return scene([
    { ids: a, color: PIECE_A },
    { ids: b, color: PIECE_B },
  ]);
}

function cutScene(preview, all, marks, task) {
  const shared = preview.needs_supervoxel_split;
  const sides = shared
    ? [
        ...task.evidence.side_a.map(([, point_nm]) => ({ point_nm, color: PIECE_A })),
        ...task.evidence.side_b.map(([, point_nm]) => ({ point_nm, color: PIECE_B })),
      ]
    : [];
  const overlay = preview.supervoxel_parts?.layer;
  return { groups: partsOf(preview, all), marks: [...marks, ...sides], point_nm: task.point_nm, overlay };
}

/** The two parts of a neuron in their colours; a supervoxel that is split itself is neither. */
export function partsOf(preview, all) {
  const there = new Set(all);
  const [a, b] = preview.parts.map((part) => part.filter((id) => there.has(id)));
  const whole = preview.needs_supervoxel_split ? [{ ids: [preview.needs_supervoxel_split], color: PLAIN }] : [];
  return [{ ids: a, color: PIECE_A }, { ids: b, color: PIECE_B }, ...whole];
}

/** The scene of points that are being put on both sides of a cut. */
export function splitScene(neuron, others, sides, preview) {
  const marks = sides.flatMap((side, index) =>
    side.map(({ point_nm }) => ({ point_nm, color: index ? PIECE_B : PIECE_A })),
  );
  const plain = (each) => ({ ids: each.supervoxels, color: PLAIN });
  const groups = neuron && preview ? partsOf(preview, neuron.supervoxels) : neuron ? [plain(neuron)] : others.map(plain);
  return { groups, marks, point_nm: null, overlay: preview?.supervoxel_parts?.layer };
}

/** The scene of a neuron that was looked for. */
export function neuronScene(neuron) {
  return { groups: [{ ids: neuron.supervoxels, color: PIECE_A }], marks: [], point_nm: neuron.point_nm };
}

/** The scene of two neurons that are to be joined by hand; either may be missing yet. */
export function joinScene(slots) {
  const there = slots.map((slot, index) => ({ ...slot, color: index ? PIECE_B : PIECE_A })).filter((each) => each.neuron);
  const groups = there.map(({ neuron, color }) => ({ ids: neuron.supervoxels, color }));
  const marks = there.filter((each) => each.point_nm).map(({ point_nm, color }) => ({ point_nm, color }));
  return { groups, marks, point_nm: null };
}
