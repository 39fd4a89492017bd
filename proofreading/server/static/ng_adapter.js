// The viewer: Neuroglancer in a frame. The only file that knows its undocumented surface, which was read in the
// sources of release 2.41.2; everything else speaks of scenes, in nm and in the order z, y, x.
//
// A scene is { groups: [{ ids, color }], marks: [{ point_nm, color }], point_nm, overlay, apart }: supervoxels (IDs
// as text) in fixed colours, rings around points, the point that is looked at, the address of a layer of the sides
// 1 and 2 of a supervoxel, if one is to be split, and points of two pieces that are to be seen beside each other.

import { PIECE_A, PIECE_B, POINT } from "./modes.js";
import { facing, FRONT, turned } from "./turning.js";

const CELLS = "cells";
// Annotations with properties are read by code that is made as a string, which the page's policy forbids:
// therefore one layer for each colour.
const MARKS = { [POINT]: "point", [PIECE_A]: "side A", [PIECE_B]: "side B" };
const CUT = "cut";
const PLACE = "place-point";
const NOTHING = "do-nothing";
export const LAYOUTS = ["4panel", "3d", "xy-3d", "xy"];

// The decision point is a ring, through which it is seen; points of a split are discs, whose colour is that of the
// pieces under them.
const RING = `
void main() {
  setPointMarkerSize(13.0);
  setPointMarkerBorderWidth(2.5);
  setPointMarkerColor(vec4(0.0, 0.0, 0.0, 0.0));
  setPointMarkerBorderColor(defaultColor());
}
`;

const DISC = `
void main() {
  setPointMarkerSize(10.0);
  setPointMarkerBorderWidth(2.5);
  setPointMarkerColor(defaultColor());
  setPointMarkerBorderColor(vec4(0.0, 0.0, 0.0, 1.0));
}
`;

// How much of the volume a slice and the 3-D view show at first, nm.
const SLICE_NM = 1100;
const SPACE_NM = 5000;
const CONTEXT_ALPHA = 0.14;
const SHOWN_ALPHA = 0.55;
const LONGEST_WAIT_MS = 15000;

/**
 * Opens the viewer in a frame.
 *
 * @param frame an iframe, empty.
 * @param project what /api/project says.
 * @param onPlace called with a picked point (see `pick`) when somebody clicks with shift held.
 * @returns a promise of the functions below.
 */
export async function openViewer(frame, project, onPlace) {
  const size = [...project.voxel_size_nm].reverse();
  let edition = project.last_voxel_edit;
  let reloading = Promise.resolve();
  let context = true;
  let scene = null;
  let overlay = null;
  let prefetched = [];

  window.viewerConfig = config();
  window.onViewerAction = (name, state) => {
    if (name === PLACE) onPlace(found(state.mousePosition, state.selectedValues));
  };
  // With a state in its address the viewer keeps its state to itself.
  frame.src = "/ng/v/stub/#!{}";
  await new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
  const inside = frame.contentWindow;
  const viewer = await until(() => inside.viewer);
  // It would write every change into its address: wasted, and on a slow machine that happens while layers are
  // being restored, which fails then.
  viewer.state.changed.handlers.clear();
  viewer.state.restoreState(firstState());
  hide(inside.document, ".perspective-panel-show-slice-views");
  await until(isThere);

  function voxels(point_nm) {
    return [...point_nm].reverse().map((value, axis) => value / size[axis]);
  }

  /** Shows the sides of a supervoxel that is to be split over it; null for none. */
  function setOverlay(path) {
    if (path === overlay) return;
    overlay = path;
    const url = path ? `precomputed://${location.origin}${path}` : "";
    const spec = { url, enableDefaultSubsources: true, subsources: new Map() };
    const { dataSources } = layer(CUT);
    if (dataSources.length) dataSources[0].spec = spec;
    else if (path) layer(CUT).addDataSource(spec);
  }

  function source(name) {
    const path = name === "segmentation" && edition ? `segmentation~${edition}` : name;
    return `precomputed://${location.origin}/data/${path}`;
  }

  function firstState() {
    const { start, stop } = project.bounds;
    const middle = start.map((low, axis) => ((low + stop[axis]) / 2) * project.voxel_size_nm[axis]);
    const extent = Math.max(...start.map((low, axis) => (stop[axis] - low) * project.voxel_size_nm[axis]));
    const finest = Math.min(...size);
    const layers = [
      { type: "segmentation", name: CELLS, source: source("segmentation"), segments: [], ...look() },
      {
        type: "segmentation",
        name: CUT,
        source: [],
        segments: ["1", "2"],
        segmentColors: { 1: PIECE_A, 2: PIECE_B },
        selectedAlpha: 0.75,
        hoverHighlight: false,
        pick: false,
      },
      ...Object.entries(MARKS).map(([annotationColor, name]) => ({
        type: "annotation",
        name,
        source: { url: "local://annotations", transform: { outputDimensions: dimensions() } },
        annotationColor,
        annotations: [],
        shader: annotationColor === POINT ? RING : DISC,
      })),
    ];
    if (project.layers.image) layers.unshift({ type: "image", name: "image", source: source("image") });
    return {
      dimensions: dimensions(),
      position: voxels(middle),
      crossSectionScale: Math.min(SLICE_NM, extent) / finest / 420,
      projectionScale: Math.min(SPACE_NM, extent * 1.5) / finest,
      layers,
      layout: LAYOUTS[0],
      showSlices: false,
      showAxisLines: false,
      showDefaultAnnotations: false,
      crossSectionBackgroundColor: "#14171c",
      projectionBackgroundColor: "#14171c",
      gpuMemoryLimit: 1e9,
      systemMemoryLimit: 1e9,
    };
  }

  function look() {
    return {
      selectedAlpha: SHOWN_ALPHA,
      notSelectedAlpha: context ? CONTEXT_ALPHA : 0,
      hoverHighlight: false,
      ignoreNullVisibleSet: false,
    };
  }

  function dimensions() {
    return Object.fromEntries(["x", "y", "z"].map((axis, index) => [axis, [size[index] * 1e-9, "m"]]));
  }

  function config() {
    const clicks = { "at:shift+mousedown0": PLACE };
    for (const each of ["at:dblclick0", "at:shift+dblclick0", "at:control+mousedown0"]) clicks[each] = NOTHING;
    return {
      showUIControls: false,
      showTopBar: false,
      showLayerPanel: false,
      showPanelBorders: false,
      actions: [PLACE, NOTHING],
      inputEventBindings: { dataView: clicks },
      prefetch: prefetched.map((state, index) => ({ state, priority: -index })),
    };
  }

  function layer(name) {
    return viewerNow()?.layerManager.getLayerByName(name)?.layer;
  }

  function isThere() {
    return layer(CELLS)?.displayState && Object.values(MARKS).every((name) => layer(name)?.localAnnotations);
  }

  function viewerNow() {
    return frame.contentWindow.viewer;
  }

  function found(position, values) {
    const id = idOf(values?.[CELLS]?.value);
    if (!position || id === null) return null;
    return { supervoxel: id, point_nm: Array.from(position, (each, axis) => each * size[axis]).reverse() };
  }

  /** The supervoxel under the mouse, else the one at the centre: { supervoxel, point_nm }, or null. */
  function pick() {
    const { mouseState, layerSelectedValues } = viewer;
    if (mouseState.active && mouseState.updateUnconditionally()) {
      const here = found(mouseState.position, JSON.parse(textOf(layerSelectedValues.toJSON())));
      if (here) return here;
    }
    const position = viewer.navigationState.position.value;
    return found(position, { [CELLS]: { value: layer(CELLS).getValueAt(position, { pickedRenderLayer: null }) } });
  }

  function setColors(groups) {
    const { segmentStatedColors, segmentationGroupState } = layer(CELLS).displayState;
    const { selectedSegments, visibleSegments } = segmentationGroupState.value;
    selectedSegments.clear();
    visibleSegments.clear();
    segmentStatedColors.value.clear();
    for (const { ids, color } of groups) {
      const all = ids.map(BigInt);
      for (const id of all) segmentStatedColors.value.set(id, packed(color));
      visibleSegments.add(all);
      selectedSegments.add(all);
    }
  }

  function setMarks(marks) {
    for (const [wanted, name] of Object.entries(MARKS)) {
      const points = marks
        .filter(({ color }) => color === wanted)
        .map(({ point_nm }, index) => ({ type: "point", id: String(index), point: voxels(point_nm) }));
      layer(name).localAnnotations.restoreState(points);
    }
  }

  /** Shows a scene; the view moves to its point unless `stay`. */
  function show(next, { stay = false } = {}) {
    scene = next;
    setColors(next.groups);
    setMarks(next.marks);
    setOverlay(next.overlay ?? null);
    if (stay || !next.point_nm) return;
    centre(next.point_nm);
    face();
  }

  /** Turns the 3-D view so that it shows both pieces. */
  function face() {
    viewer.projectionOrientation?.restoreState?.(scene?.apart ? facing(...scene.apart) : FRONT);
  }

  /** Turns the 3-D view by a quarter. */
  function turn() {
    viewer.projectionOrientation?.restoreState?.(turned(viewer.projectionOrientation.toJSON() ?? FRONT));
  }

  function centre(point_nm) {
    viewer.navigationState.position.value = Float32Array.from(voxels(point_nm));
  }

  /** Moves by voxels along z, y, x. */
  function step(by) {
    const { position } = viewer.navigationState;
    position.value = position.value.map((value, axis) => value + by[2 - axis]);
  }

  /** Moves back to a point at the scale of the beginning, seen as it was at first. */
  function reset(point_nm) {
    const { crossSectionScale, projectionScale } = firstState();
    viewer.state.restoreState({ crossSectionScale, projectionScale });
    viewer.crossSectionOrientation?.reset?.();
    face();
    if (point_nm) centre(point_nm);
  }

  function setContext(on) {
    context = on;
    layer(CELLS).displayState.notSelectedAlpha.value = on ? CONTEXT_ALPHA : 0;
  }

  function setLayout(name) {
    viewer.layout.restoreState(name);
  }

  /** Has voxels and surfaces of scenes fetched ahead. */
  function prefetch(scenes) {
    const now = JSON.parse(textOf(viewer.state.toJSON()));
    prefetched = scenes.map((each) => ({
      ...now,
      position: voxels(each.point_nm),
      layers: now.layers.filter((one) => one.name !== CUT).map((one) =>
        one.name === CELLS ? { ...one, segments: each.groups.flatMap((group) => group.ids) } : one,
      ),
    }));
    inside.viewerStub.setConfig(config());
  }

  /** Reads the voxels anew, after supervoxels were split: `number` is that of the edit. */
  function reload(number) {
    reloading = reloading.then(() => Number(number) > edition && readAnew(Number(number)));
    return reloading;
  }

  async function readAnew(number) {
    edition = number;
    const state = JSON.parse(textOf(viewer.state.toJSON()));
    for (const one of state.layers) {
      if (one.name === CELLS) one.source = source("segmentation");
      if (one.name === CUT) one.source = [];
    }
    overlay = null;
    viewer.state.restoreState(state);
    await until(isThere);
    setContext(context);
    if (scene) show(scene, { stay: true });
  }

  /** Waits until what was shown last is drawn; the answer of the viewer itself is stale right after a change. */
  async function drawn() {
    const end = performance.now() + LONGEST_WAIT_MS;
    let ready = 0;
    while (ready < 3 && performance.now() < end) {
      await nextFrame();
      ready = viewer.isReady() ? ready + 1 : 0;
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
  }

  return { window: inside, show, setContext, setLayout, step, turn, reset, pick, prefetch, reload, drawn };
}

/** A colour "#rrggbb" as the viewer keeps it: blue, green, red. */
export function packed(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return BigInt((blue << 16) | (green << 8) | red);
}

function hide(inside, selector) {
  const style = inside.createElement("style");
  style.textContent = `${selector} { display: none; }`;
  inside.head.append(style);
}

/** A picked value as text; it comes as a number, or as an entry of a table of equal ones. Null for none. */
function idOf(value) {
  const id = value !== null && typeof value === "object" ? value.key : value;
  return id !== undefined && id !== null && /^[1-9][0-9]*$/.test(String(id)) ? String(id) : null;
}

function textOf(value) {
  return JSON.stringify(value, (_, each) => (typeof each === "bigint" ? String(each) : each)) ?? "";
}

/** The next frame that is painted, or a moment later where none is, as in a hidden tab. */
function nextFrame() {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 100);
    requestAnimationFrame(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

async function until(condition) {
  const end = performance.now() + 60000;
  for (;;) {
    const value = condition();
    if (value) return value;
    if (performance.now() > end) throw new Error("the viewer did not start; WebGL 2 is needed");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
