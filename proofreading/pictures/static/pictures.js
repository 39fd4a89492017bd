// The page: uploads pictures, follows how far they are, and shows and saves results.

import { Panes } from "./panes.js";

const HEADERS = { "X-Requested-By": "proofread" };
const OVER = ["done", "failed", "cancelled"];
const POLL_MS = 1000;
const FORMAT_NAMES = { hdf5: "HDF5", tiff: "TIFF", png: "PNG", jpeg: "JPEG", raw: "RAW", pdf: "PDF" };
// These hold the section that is shown, the others all of them.
const OF_A_SECTION = ["png", "jpeg", "pdf"];

const at = (id) => document.getElementById(id);
const state = { offered: null, jobs: [], chosen: null, section: 0, colours: 0.5, asked: 0, shown: "" };

const panes = new Panes(at("raw"), at("objects"), {
  onZoom: (scale) => (at("zoom-shown").value = scale === null ? "" : `${Math.round(100 * scale)} %`),
  onSection: (step) => goTo(state.section + step),
  onColours: () => setOpacity(panes.opacity > 0 ? 0 : state.colours || 0.5),
});

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { ...HEADERS, ...options.headers } });
  if (answer.status === 401) {
    throw new Error("You are not logged in; log in at the proofreading page, then come back.");
  }
  if (!answer.ok) {
    const found = await answer.json().catch(() => ({}));
    throw new Error(found.error ?? found.detail ?? `The server answered ${answer.status}.`);
  }
  return answer.status === 204 ? null : answer.json();
}

async function refresh() {
  const found = await ask("/api/pictures");
  if (!state.offered) {
    offer(found);
  }
  state.offered = found;
  state.jobs = found.pictures;
  drawList();
  await drawChosen();
}

function offer(found) {
  const chooser = at("network");
  chooser.replaceChildren(...found.networks.map((each) => new Option(`${each.name} (${each.finds})`, each.name)));
  chooser.addEventListener("change", describeNetwork);
  const megabytes = Math.floor(found.limits.upload_bytes / 2 ** 20);
  const millions = Math.floor(found.limits.voxels / 10 ** 6);
  at("limits").textContent = `Up to ${megabytes} MiB and ${millions} million voxels.`;
  state.offered = found;
  describeNetwork();
  for (const format of found.formats) {
    const link = document.createElement("a");
    link.className = "button";
    link.dataset.format = format;
    link.textContent = FORMAT_NAMES[format] ?? format;
    link.download = "";
    at("downloads").append(link);
  }
  at("downloads").prepend("Save:");
}

function describeNetwork() {
  const network = state.offered.networks.find((each) => each.name === at("network").value);
  if (!network) {
    return;
  }
  const size = network.voxel_size_nm;
  at("network-about").textContent =
    `${network.description} ${size ? `Voxels of ${size.join(" × ")} nm (z, y, x).` : ""}`.trim();
  ["z", "y", "x"].forEach((axis, index) => (at(`size-${axis}`).value = size ? size[index] : ""));
}

function drawList() {
  at("list-empty").hidden = state.jobs.length > 0;
  const focused = document.activeElement?.dataset?.focus;
  at("list").replaceChildren(...state.jobs.map(entry));
  if (focused) {
    at("list").querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }
}

function entry(job) {
  const item = document.createElement("li");
  const open = button("", () => choose(job.id), `open ${job.id}`);
  open.className = "open";
  open.setAttribute("aria-current", String(job.id === state.chosen));
  open.append(span(job.name, "name"), span(inWords(job), `state ${job.state}`));
  const remove = button("✕", () => removed(job), `remove ${job.id}`);
  remove.setAttribute("aria-label", `Remove ${job.name}`);
  item.append(open, remove);
  return item;
}

function button(text, act, focus) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.dataset.focus = focus;
  made.addEventListener("click", act);
  return made;
}

function span(text, name) {
  const made = document.createElement("span");
  made.className = name;
  made.textContent = text;
  return made;
}

function inWords(job) {
  if (job.state === "running") {
    return `${job.stage || "starting"}, ${Math.round(100 * job.progress)} % filled`;
  }
  if (job.state === "waiting") {
    return job.ahead ? `waiting, ${job.ahead} before it` : "waiting";
  }
  if (job.state === "done") {
    return `done, ${job.objects} objects`;
  }
  return job.state;
}

async function removed(job) {
  if (!OVER.includes(job.state) && !window.confirm(`Stop and remove ${job.name}?`)) {
    return;
  }
  await attempt("view-error", () => ask(`/api/pictures/${job.id}`, { method: "DELETE" }));
  if (state.chosen === job.id) {
    state.chosen = null;
  }
  await refreshed();
}

async function choose(id) {
  state.chosen = id;
  state.section = -1;
  state.shown = "";
  panes.clear();
  drawList();
  await attempt("view-error", drawChosen);
}

async function drawChosen() {
  const job = state.jobs.find((each) => each.id === state.chosen);
  const isDone = job?.state === "done";
  at("view-title").textContent = job ? job.name : "No picture chosen";
  at("view-facts").textContent = job ? facts(job) : "";
  at("view-error").textContent = job?.error ?? "";
  at("view-notes").replaceChildren(...(job?.notes ?? []).map(note));
  at("progress-box").hidden = !job || OVER.includes(job.state);
  for (const id of ["panes", "tools", "downloads", "keys"]) {
    at(id).hidden = !isDone;
  }
  if (job && !OVER.includes(job.state)) {
    at("progress-label").textContent = inWords(job);
    const isKnown = job.state === "running" && job.progress > 0;
    isKnown ? (at("progress").value = job.progress) : at("progress").removeAttribute("value");
  }
  if (isDone) {
    const last = job.shape[0] - 1;
    at("section").max = last;
    at("section-box").hidden = last === 0;
    await goTo(state.section < 0 ? Math.floor(last / 2) : state.section);
  }
}

function facts(job) {
  const words = [`network ${job.wanted.network}`];
  if (job.shape) {
    words.push(`${job.shape.join(" × ")} voxels (z, y, x)`);
  }
  if (job.objects !== null) {
    words.push(`${job.objects} objects`);
  }
  return words.join(", ");
}

function note(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

async function goTo(section) {
  const job = state.jobs.find((each) => each.id === state.chosen);
  if (job?.state !== "done") {
    return;
  }
  state.section = Math.max(0, Math.min(job.shape[0] - 1, section));
  at("section").value = state.section;
  at("section-shown").value = `${state.section} / ${job.shape[0] - 1}`;
  for (const link of at("downloads").querySelectorAll("a")) {
    const format = link.dataset.format;
    link.href = `/api/pictures/${job.id}/result?format=${format}&z=${state.section}`;
    link.title = OF_A_SECTION.includes(format) ? "the section that is shown" : "all sections";
  }
  const wanted = `${job.id} ${state.section}`;
  if (wanted === state.shown) {
    return;
  }
  // Of several that were asked for only the last one is shown.
  const number = ++state.asked;
  const address = `/api/pictures/${job.id}/section?z=${state.section}`;
  const [raw, objects] = await Promise.all([image(`${address}&kind=raw`), image(`${address}&kind=objects`)]);
  if (number === state.asked) {
    state.shown = wanted;
    panes.show(raw, objects);
    at("raw").setAttribute("aria-label", `Picture ${job.name}, section ${state.section}`);
    at("objects").setAttribute("aria-label", `Objects in ${job.name}, section ${state.section}`);
  }
}

async function image(address) {
  const found = new Image();
  found.src = address;
  try {
    await found.decode();
  } catch {
    throw new Error("The section cannot be shown; reload the page.");
  }
  return found;
}

function setOpacity(value) {
  if (value > 0) {
    state.colours = value;
  }
  at("opacity").value = value;
  panes.setOpacity(value);
}

function chosenFile() {
  const file = at("file").files[0];
  at("file-shown").textContent = file ? file.name : "Choose a PNG, TIFF or HDF5, or drop it here";
  return file;
}

async function upload(event) {
  event.preventDefault();
  const file = chosenFile();
  at("form-error").textContent = "";
  if (file.size > state.offered.limits.upload_bytes) {
    at("form-error").textContent = "This file is larger than allowed.";
    return;
  }
  const size = ["z", "y", "x"].map((axis) => at(`size-${axis}`).value).filter(Boolean);
  const query = new URLSearchParams({
    name: file.name,
    network: at("network").value,
    match: at("match").checked,
    invert: at("invert").checked,
    min_segment_size: at("smallest").value || "300",
    dataset: at("dataset").value,
    voxel_size_nm: size.length === 3 ? size.join(",") : "",
  });
  at("submit").disabled = true;
  const job = await attempt("form-error", () => sent(`/api/pictures?${query}`, file));
  at("submit").disabled = false;
  at("upload-state").textContent = "";
  if (job) {
    at("form").reset();
    describeNetwork();
    chosenFile();
    await refreshed();
    await choose(job.id);
  }
}

// An upload that tells how far it is, which `fetch` cannot.
function sent(path, file) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    Object.entries(HEADERS).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      at("upload-state").textContent = `Sending, ${Math.round((100 * event.loaded) / event.total)} %`;
    });
    request.addEventListener("load", () => {
      const found = request.response ?? {};
      const line = found.error ?? found.detail ?? `The server answered ${request.status}.`;
      request.status === 201 ? resolve(found) : reject(new Error(line));
    });
    request.addEventListener("error", () => reject(new Error("The server cannot be reached.")));
    request.send(file);
  });
}

async function attempt(place, work) {
  try {
    return await work();
  } catch (error) {
    at(place).textContent = error.message;
    return null;
  }
}

const refreshed = () => attempt("form-error", refresh);

async function follow() {
  const isBusy = state.jobs.some((job) => !OVER.includes(job.state));
  if (isBusy && !document.hidden) {
    await refreshed();
  }
  window.setTimeout(follow, POLL_MS);
}

function dropped(event) {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files.length) {
    at("file").files = event.dataTransfer.files;
    chosenFile();
  }
}

at("form").addEventListener("submit", upload);
at("file").addEventListener("change", chosenFile);
at("drop").addEventListener("drop", dropped);
at("drop").addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
at("section").addEventListener("input", () => attempt("view-error", () => goTo(Number(at("section").value))));
at("opacity").addEventListener("input", () => setOpacity(Number(at("opacity").value)));
at("zoom-in").addEventListener("click", () => panes.zoom(1.25));
at("zoom-out").addEventListener("click", () => panes.zoom(0.8));
at("fit").addEventListener("click", () => panes.fit());
at("cancel").addEventListener("click", async () => {
  await attempt("view-error", () => ask(`/api/pictures/${state.chosen}/cancel`, { method: "POST" }));
  await refreshed();
});

await refreshed();
const first = new URLSearchParams(window.location.search).get("picture") ?? state.jobs[0]?.id;
if (first) {
  await choose(first);
}
follow();
