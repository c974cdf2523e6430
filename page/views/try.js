// Degrade a clean image, or super-resolve a real one, and look at what comes of it.

import { bytes, get, postForm } from "/page/api.js";
import { h, replace } from "/page/dom.js";
import { followJob } from "/page/live.js";
import { dropPlace } from "/page/parts/files.js";
import { kernelCanvas } from "/page/parts/gallery.js";
import { readNpy } from "/page/parts/npy.js";
import { beforeAfter, pane, Window } from "/page/parts/panes.js";
import { count, figure, isFinal, progressOf, when } from "/page/words.js";

const WAIT_SECONDS = 20;
const NOISE_SHOWN = 8; // times as strong as it is, so that it can be seen
const TASKS = {
  degrade: { name: "Degrade a clean image", drop: "Drop a clean image here" },
  sr: { name: "Super-resolve a real photo", drop: "Drop a real, low-resolution photo here" },
};

export async function show(main, { query, signal }) {
  const [{ items: models }, { items: datasets }] = await Promise.all([get("/models?limit=200", signal), get("/datasets?limit=1000", signal)]);
  const names = Object.fromEntries(datasets.map((dataset) => [dataset.id, dataset.name]));
  if (!models.length) {
    replace(main, h("h1", {}, "Try it"), h("p", { class: "notice" }, "Nothing has been learned yet. ", h("a", { href: "#/datasets" }, "Make a dataset and train"), " first."));
    return "Try it";
  }
  let task = query.get("task") === "sr" ? "sr" : "degrade";
  let file = null;
  const place = h("div", {});
  const state = h("p", { class: "quiet", role: "status" }); // read out, unlike the many panes of an outcome
  const outcome = h("div", { class: "stack", role: "region", "aria-label": "Outcome" });
  const model = h("select", { name: "model", onchange: () => run() }, models.map((each) =>
    h("option", { value: each.id, selected: each.id === query.get("model") }, `${names[each.dataset] ?? each.dataset}, ${when(each.created)}`)));
  const samples = h("input", { type: "number", min: 1, max: 8, value: "2", onchange: () => run() });
  const seed = h("input", { type: "number", min: 0, step: 1, value: "0", onchange: () => run() });
  const dice = h("button", { type: "button", disabled: true, onclick: () => { seed.value = Math.floor(Math.random() * 2 ** 31); run(); } }, "New seed");
  const drawing = h("div", { class: "fields" }, h("label", {}, "Samples", samples), h("label", {}, "Seed", seed), dice);
  const tabs = Object.entries(TASKS).map(([each, { name }]) =>
    h("button", { type: "button", role: "tab", "aria-controls": "task", "data-task": each, onclick: () => choose(each) }, name));

  function choose(next) {
    if (next !== task) {
      going.abort();
      file = null;
      state.textContent = "";
      replace(outcome);
    }
    task = next;
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab.dataset.task === task);
      tab.tabIndex = tab.dataset.task === task ? 0 : -1; // the arrows lead to the others
    }
    drawing.hidden = task !== "degrade";
    dice.disabled = !file;
    replace(place, dropPlace({ label: TASKS[task].drop, folders: false, multiple: false, take: ([taken]) => { file = taken.file; run(); } }));
  }

  function chooseByKey(event) {
    const at = tabs.findIndex((tab) => tab.dataset.task === task);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const tab = tabs.at(to % tabs.length);
    choose(tab.dataset.task);
    tab.focus();
  }

  let going = new AbortController();
  async function run() {
    if (!file) return;
    going.abort();
    const mine = going = new AbortController();
    const stop = AbortSignal.any([signal, mine.signal]);
    dice.disabled = false;
    outcome.setAttribute("aria-busy", "true");
    state.textContent = "One moment …";
    try {
      const { dataset } = models.find((each) => each.id === model.value);
      const form = new FormData();
      form.append("files", file);
      form.append("model", model.value);
      if (task === "degrade") { form.append("samples", samples.value || 1); form.append("seed", seed.value || 0); }
      const path = task === "degrade" ? `/datasets/${dataset}/degrade` : "/sr";
      let job = await postForm(path, form, { wait: WAIT_SECONDS, signal: stop });
      if (!isFinal(job)) job = await ended(job, (now) => (state.textContent = progressOf(now)), stop);
      const { items } = await get(`${job.links.results}?limit=8`, stop);
      const bad = items.find((each) => each.status !== "ok");
      if (bad || !items.length) throw new Error(bad?.message ?? job.error?.message ?? `The job was ${job.status}.`);
      const source = await decoded(file);
      const shown = await (task === "degrade" ? degraded(items, source, stop) : superResolved(items[0], source, stop));
      stop.throwIfAborted(); // decoding is not interrupted
      replace(outcome, shown,
        h("p", { class: "small" }, h("a", { href: `#/jobs/${job.id}` }, "To the job and its files")));
      state.textContent = task === "degrade" ? `${count(items.length, "sample")} drawn.` : "Super-resolved.";
    } catch (error) {
      if (stop.aborted) return; // another run or view has taken its place
      state.textContent = "";
      replace(outcome, h("p", { class: "notice alarm", role: "alert" }, error.message));
    } finally {
      if (going === mine) outcome.removeAttribute("aria-busy"); // else another run is busy
    }
  }

  replace(main,
    h("div", {}, h("h1", {}, "Try it"), h("p", { class: "quiet" }, "See with your own eyes what a model does.")),
    h("div", { class: "tabs", role: "tablist", "aria-label": "What to do", onkeydown: chooseByKey }, tabs),
    h("section", { class: "card", id: "task", role: "tabpanel", "aria-label": "Image and model" },
      h("label", {}, "Model", model), place, drawing),
    state, outcome);
  choose(task);
  return "Try it";
}

const ended = (job, tell, signal) => new Promise((resolve, reject) => {
  signal.addEventListener("abort", () => reject(signal.reason));
  const stop = followJob(job.id, { job: (now) => { tell(now); if (isFinal(now)) { stop?.(); resolve(now); } } }, signal);
});

/** The image's pixels, turned upright as the service turns them. */
async function decoded(blob) {
  try {
    return await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    throw new Error("This browser cannot show such an image (TIFF, for instance); the job's files are there all the same.");
  }
}

const imageAt = async (link, signal) => decoded(new Blob([await bytes(link, signal)], { type: "image/png" }));

async function degraded(items, source, signal) {
  const view = new Window();
  const rows = await Promise.all(items.map(async ({ sample, links }) => {
    const [lr, kernel, noise] = await Promise.all([imageAt(links.lr, signal), bytes(links.kernel, signal).then(readNpy), bytes(links.noise, signal).then(readNpy)]);
    const peak = kernel.values.reduce((most, value) => Math.max(most, value), 0);
    const small = kernelCanvas(Array.from(kernel.values, (value) => Math.round((255 * value) / peak)), kernel.shape[0], "");
    const spread = 255 * Math.sqrt(noise.values.reduce((sum, value) => sum + value * value, 0) / noise.values.length);
    return h("section", { class: "card" }, h("h3", {}, `Sample ${sample + 1}`), h("div", { class: "panes" },
      pane(view, "Clean", source, `${source.width} × ${source.height}`),
      pane(view, "Degraded", lr, `${lr.width} × ${lr.height}`),
      pane(new Window(), "Kernel", small, `${kernel.shape[0]} × ${kernel.shape[1]} taps`),
      pane(view, "Noise", noiseImage(noise, lr), `${figure(spread, 2)} levels, shown ${NOISE_SHOWN} times as strong`)));
  }));
  return [view.buttons(), rows];
}

/** Grey is no noise; noise may be one number for a row, a column or a channel. */
function noiseImage({ shape, values }, { width, height }) {
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const [rows, columns, channels] = shape;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      const from = ((rows === 1 ? 0 : y) * columns + (columns === 1 ? 0 : x)) * channels;
      for (let channel = 0; channel < 3; channel++) image.data[at + channel] = 128 + 255 * NOISE_SHOWN * values[from + (channels === 1 ? 0 : channel)];
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

async function superResolved({ links }, source, signal) {
  const large = await imageAt(links.sr, signal);
  const view = new Window();
  return h("section", { class: "card" },
    h("div", { class: "head" }, h("h2", {}, `${source.width} × ${source.height} → ${large.width} × ${large.height}`), view.buttons()),
    beforeAfter(view, source, large, ["Photo", "Super-resolved"]));
}
