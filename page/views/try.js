// Degrades a clean image or super-resolves a real photo, and shows the result.

import { get, getBytes, postForm } from "../api.js";
import { dropZone } from "../components/dropZone.js";
import { kernelCanvas } from "../components/gallery.js";
import { readNpy } from "../components/npy.js";
import { beforeAfter, pane, Viewport } from "../components/viewport.js";
import { h, replace } from "../dom.js";
import { subscribeJob } from "../events.js";
import { formatCount, formatNumber, formatProgress, formatTime, isFinal } from "../format.js";

const WAIT_SECONDS = 20;
const NOISE_GAIN = 8;
const TASKS = {
  degrade: { name: "Degrade a clean image", label: "Drop a clean image here" },
  sr: { name: "Super-resolve a real photo", label: "Drop a real, low-resolution photo here" },
};

export async function show(main, { query, signal }) {
  const [{ items: models }, { items: datasets }] = await Promise.all([get("/models?limit=200", signal), get("/datasets?limit=1000", signal)]);
  const names = Object.fromEntries(datasets.map((dataset) => [dataset.id, dataset.name]));
  if (!models.length) {
    replace(main, h("h1", {}, "Try it"), h("p", { class: "notice" }, "There is no model yet. ", h("a", { href: "#/datasets" }, "Create a dataset and train"), " first."));
    return "Try it";
  }
  let task = query.get("task") === "sr" ? "sr" : "degrade";
  let file = null;
  const zone = h("div", {});
  const status = h("p", { class: "muted", role: "status" }); // screen readers announce it, not the many panes
  const output = h("div", { class: "stack", role: "region", "aria-label": "Result" });
  const modelSelect = h("select", { name: "model", onchange: () => run() }, models.map((model) =>
    h("option", { value: model.id, selected: model.id === query.get("model") }, `${names[model.dataset] ?? model.dataset}, ${formatTime(model.created)}`)));
  const samples = h("input", { type: "number", min: 1, max: 8, value: "2", onchange: () => run() });
  const seed = h("input", { type: "number", min: 0, step: 1, value: "0", onchange: () => run() });
  const newSeed = h("button", { type: "button", disabled: true, onclick: () => { seed.value = Math.floor(Math.random() * 2 ** 31); run(); } }, "New seed");
  const sampling = h("div", { class: "fields" }, h("label", {}, "Samples", samples), h("label", {}, "Seed", seed), newSeed);
  const tabs = Object.entries(TASKS).map(([key, { name }]) =>
    h("button", { type: "button", role: "tab", "aria-controls": "task", "data-task": key, onclick: () => selectTask(key) }, name));

  function selectTask(next) {
    if (next !== task) {
      currentRun.abort();
      file = null;
      status.textContent = "";
      replace(output);
    }
    task = next;
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab.dataset.task === task);
      tab.tabIndex = tab.dataset.task === task ? 0 : -1; // the arrow keys reach the other tabs
    }
    sampling.hidden = task !== "degrade";
    newSeed.disabled = !file;
    replace(zone, dropZone({ label: TASKS[task].label, folders: false, multiple: false, onFiles: ([chosen]) => { file = chosen.file; run(); } }));
  }

  function selectTaskByKey(event) {
    const current = tabs.findIndex((tab) => tab.dataset.task === task);
    const next = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const tab = tabs.at(next % tabs.length);
    selectTask(tab.dataset.task);
    tab.focus();
  }

  let currentRun = new AbortController();
  async function run() {
    if (!file) return;
    currentRun.abort();
    const thisRun = currentRun = new AbortController();
    const runSignal = AbortSignal.any([signal, thisRun.signal]);
    newSeed.disabled = false;
    output.setAttribute("aria-busy", "true");
    status.textContent = "Working …";
    try {
      const { dataset } = models.find((model) => model.id === modelSelect.value);
      const form = new FormData();
      form.append("files", file);
      form.append("model", modelSelect.value);
      form.append("depth", task === "degrade" ? "scale" : "8"); // of what a screen shows; a warning says so
      if (task === "degrade") { form.append("samples", samples.value || 1); form.append("seed", seed.value || 0); }
      const path = task === "degrade" ? `/datasets/${dataset}/degrade` : "/sr";
      let job = await postForm(path, form, { wait: WAIT_SECONDS, signal: runSignal });
      if (!isFinal(job)) job = await waitForEnd(job, (current) => (status.textContent = formatProgress(current)), runSignal);
      const { items } = await get(`${job.links.results}?limit=8`, runSignal);
      const failed = items.find((item) => item.status !== "ok");
      if (failed || !items.length) throw new Error(failed?.message ?? job.error?.message ?? `The job was ${job.status}.`);
      const source = await decodeImage(file).catch(() => null); // few browsers show HEIC or TIFF
      const result = await (task === "degrade" ? showDegraded(items, source, runSignal) : showRestored(items[0], source, runSignal));
      runSignal.throwIfAborted(); // decoding cannot be aborted
      replace(output, result,
        !source && h("p", { class: "notice" }, "This browser cannot show the file itself, as with HEIC, TIFF or a file that is cut off."),
        (job.warnings ?? []).map(({ message }) => h("p", { class: "notice" }, message)),
        h("p", { class: "small" }, h("a", { href: `#/jobs/${job.id}` }, "Show the job and its files")));
      status.textContent = task === "degrade" ? `${formatCount(items.length, "sample")} generated.` : "Super-resolved.";
    } catch (error) {
      if (runSignal.aborted) return; // another run or view has replaced this one
      status.textContent = "";
      replace(output, h("p", { class: "notice error", role: "alert" }, error.message));
    } finally {
      if (currentRun === thisRun) output.removeAttribute("aria-busy");
    }
  }

  replace(main,
    h("div", {}, h("h1", {}, "Try it"), h("p", { class: "muted" }, "Apply a model to one image.")),
    h("div", { class: "tabs", role: "tablist", "aria-label": "Task", onkeydown: selectTaskByKey }, tabs),
    h("section", { class: "card", id: "task", role: "tabpanel", "aria-label": "Image and model" },
      h("label", {}, "Model", modelSelect), zone, sampling),
    status, output);
  selectTask(task);
  return "Try it";
}

const waitForEnd = (job, onProgress, signal) => new Promise((resolve, reject) => {
  signal.addEventListener("abort", () => reject(signal.reason));
  const unsubscribe = subscribeJob(job.id, { onJob: (current) => { onProgress(current); if (isFinal(current)) { unsubscribe?.(); resolve(current); } } }, signal);
});

/** Decodes an image and applies its EXIF orientation, as the service does. */
async function decodeImage(blob) {
  try {
    return await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    throw new Error("This browser cannot show the result. Open the job to download its files.");
  }
}

const fetchImage = async (link, signal) => decodeImage(new Blob([await getBytes(link, signal)], { type: "image/png" }));

async function showDegraded(items, source, signal) {
  const viewport = new Viewport();
  const cards = await Promise.all(items.map(async ({ sample, links }) => {
    const [lr, kernel, noise] = await Promise.all([fetchImage(links.lr, signal), getBytes(links.kernel, signal).then(readNpy), getBytes(links.noise, signal).then(readNpy)]);
    const peak = kernel.values.reduce((largest, value) => Math.max(largest, value), 0);
    const kernelImage = kernelCanvas(Array.from(kernel.values, (value) => Math.round((255 * value) / peak)), kernel.shape[0], "");
    const std = 255 * Math.sqrt(noise.values.reduce((sum, value) => sum + value * value, 0) / noise.values.length);
    return h("section", { class: "card" }, h("h3", {}, `Sample ${sample + 1}`), h("div", { class: "panes" },
      source && pane(viewport, "Clean", source, `${source.width} × ${source.height}`),
      pane(viewport, "Degraded", lr, `${lr.width} × ${lr.height}`),
      pane(new Viewport(), "Kernel", kernelImage, `${kernel.shape[0]} × ${kernel.shape[1]} taps`),
      pane(viewport, "Noise", noiseImage(noise, lr), `${formatNumber(std, 2)} levels, shown ${NOISE_GAIN} times stronger`)));
  }));
  return [viewport.zoomButtons(), cards];
}

/** Draws noise around gray. Its shape broadcasts: rows, columns and channels may be 1. */
function noiseImage({ shape, values }, { width, height }) {
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const [rows, columns, channels] = shape;
  for (let y = 0, offset = 0; y < height; y++) {
    for (let x = 0; x < width; x++, offset += 4) {
      const source = ((rows === 1 ? 0 : y) * columns + (columns === 1 ? 0 : x)) * channels;
      for (let channel = 0; channel < 3; channel++) image.data[offset + channel] = 128 + 255 * NOISE_GAIN * values[source + (channels === 1 ? 0 : channel)];
      image.data[offset + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

async function showRestored({ links }, source, signal) {
  const restored = await fetchImage(links.sr, signal);
  const viewport = new Viewport();
  if (!source) return h("section", { class: "card" }, viewport.zoomButtons(), h("div", { class: "panes" }, pane(viewport, "Super-resolved", restored, `${restored.width} × ${restored.height}`)));
  return h("section", { class: "card" },
    h("div", { class: "head" }, h("h2", {}, `${source.width} × ${source.height} → ${restored.width} × ${restored.height}`), viewport.zoomButtons()),
    beforeAfter(viewport, source, restored, ["Photo", "Super-resolved"]));
}
