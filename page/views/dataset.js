// One dataset: its photos, uploads, training form, models and jobs.

import { get, PagedList, post, remove, toUrl } from "../api.js";
import { dropZone } from "../components/dropZone.js";
import { fileList } from "../components/fileList.js";
import { jobRow } from "../components/jobRow.js";
import { findingMark, photoChecks } from "../components/photoChecks.js";
import { VirtualList } from "../components/virtual.js";
import { confirmDialog, h, notify, replace, showError } from "../dom.js";
import { subscribeJobs } from "../events.js";
import { formatBytes, formatCount, formatInteger, formatPercent, formatTime } from "../format.js";
import { getUpload } from "../uploads.js";

const ROLES = {
  lr: { name: "Real photos", hint: "low-resolution, all from one source", label: "Drop real photos here" },
  hr: { name: "Clean photos", hint: "sharp, without noise, best of similar things", label: "Drop clean photos here" },
};
const PRESETS = {
  default: "default: the best",
  seed: "seed: as published",
  "ntire2020-track1": "ntire2020-track1", "ntire2018-track2": "ntire2018-track2",
  "ntire2018-track4": "ntire2018-track4", "ntire2017-track2": "ntire2017-track2",
};

export async function show(main, { id, signal }) {
  let dataset = await get(`/datasets/${id}`, signal);
  const counts = { lr: h("span", { class: "number" }), hr: h("span", { class: "number" }) };
  const photos = photoBrowser(dataset, signal);
  const training = trainForm(dataset);
  const modelList = h("div", { class: "stack" });
  const { items: models } = await get(`/models?dataset=${id}&limit=100`, signal);

  const refresh = async () => {
    dataset = await get(`/datasets/${id}`, signal);
    for (const role of ["lr", "hr"]) counts[role].textContent = formatInteger(dataset.images[role]);
    photos.setCounts(dataset.images);
    training.update(dataset);
  };
  replace(main,
    h("div", { class: "head" },
      h("div", {},
        h("p", { class: "crumb" }, h("a", { href: "#/datasets" }, "Datasets")),
        h("h1", {}, dataset.name),
        h("p", { class: "muted" }, `×${dataset.scale} · created ${formatTime(dataset.created)}`)),
      h("button", { class: "danger", onclick: () => deleteDataset(dataset) }, "Delete")),
    h("div", { class: "columns" }, Object.keys(ROLES).map((role) => uploadCard(dataset, role, counts[role], refresh, photos, signal))),
    training.element,
    modelList,
    latestJobs(id, signal),
    photos.element);
  if (models.length) replace(modelList, h("h2", {}, "Models"), h("ul", { class: "cards" }, models.map((model) => h("li", {}, modelCard(model)))));
  await refresh();
  photos.show("lr");
  return dataset.name;
}

function uploadCard(dataset, role, count, refresh, photos, signal) {
  const upload = getUpload(dataset.id, role);
  const bar = h("div", { class: "bar", role: "progressbar", "aria-label": `Upload of ${ROLES[role].name.toLowerCase()}`, "aria-valuemin": 0, "aria-valuemax": 100 }, h("span", {}));
  const status = h("p", { class: "small number" });
  const rejected = h("div", {}), warnings = h("div", {});
  const progress = h("div", { class: "stack", hidden: true }, bar, status, rejected, warnings);
  let refreshedAt = -1;
  const update = () => {
    progress.hidden = upload.total + upload.rejected.length === 0;
    const fraction = upload.bytes ? Math.min(1, upload.sentBytes / upload.bytes) : 1;
    bar.firstChild.style.width = `${100 * fraction}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * fraction));
    bar.hidden = !upload.busy;
    status.textContent = upload.error ?? (upload.busy
      ? `${formatInteger(upload.done)} of ${formatCount(upload.total, "file")} sent · ${formatPercent(fraction)} of ${formatBytes(upload.bytes)}`
      : `${formatCount(upload.images, "photo")} accepted${upload.rejected.length ? `, ${upload.rejected.length} rejected` : ""}.`);
    replace(rejected, ...fileList(`${formatCount(upload.rejected.length, "file")} rejected`, upload.rejected));
    replace(warnings, ...fileList(formatCount(upload.warnings.length, "warning"), upload.warnings));
    if (upload.done !== refreshedAt && (!upload.busy || upload.done % 25 === 0)) {
      refreshedAt = upload.done;
      if (upload.done) { refresh().catch(showError); photos.reload(role); }
    }
  };
  upload.listeners.add(update);
  signal.addEventListener("abort", () => upload.listeners.delete(update));
  update();
  return h("section", { class: "card", "aria-label": ROLES[role].name },
    h("div", { class: "head" }, h("h2", {}, ROLES[role].name), h("p", { class: "muted" }, count)),
    dropZone({ label: ROLES[role].label, hint: ROLES[role].hint, onFiles: (files) => upload.add(files) }),
    h("p", { class: "small" },
      optionBox(upload, "frames", "all", "All frames of animations and all pages"), " ",
      optionBox(upload, "depth", "scale", "Scale more than 8 bits per channel")),
    progress);
}

/** Returns a checkbox that adds a form field to the files that are added afterwards. */
function optionBox(upload, field, value, label) {
  const box = h("input", { type: "checkbox", checked: upload.options[field] === value, onchange: () => {
    if (box.checked) upload.options[field] = value;
    else delete upload.options[field];
  } });
  return h("label", {}, box, ` ${label}`);
}

function trainForm(dataset) {
  const hint = h("p", { class: "muted" });
  const button = h("button", { class: "primary", type: "submit" }, "Train");
  const form = h("form", { class: "card", onsubmit: async (event) => {
    event.preventDefault();
    const fields = new FormData(form);
    button.disabled = true;
    try {
      const job = await post(`/datasets/${dataset.id}/train`, {
        preset: fields.get("preset"), max_minutes: Number(fields.get("minutes")), seed: Number(fields.get("seed")),
      });
      location.hash = `#/jobs/${job.id}`;
    } catch (error) { showError(error); button.disabled = false; }
  } },
  h("h2", {}, "Train"), hint,
  h("div", { class: "fields" },
    h("label", {}, "Minutes", h("input", { name: "minutes", type: "number", min: 0.1, step: "any", value: "10", required: true })),
    h("label", {}, "Preset", h("select", { name: "preset" }, Object.entries(PRESETS).map(([name, label]) => h("option", { value: name }, label)))),
    h("label", {}, "Seed", h("input", { name: "seed", type: "number", min: 0, step: 1, value: "0", required: true })),
    button));
  return { element: form, update: ({ images }) => {
    const missing = [!images.lr && "real photos", !images.hr && "clean photos"].filter(Boolean).join(" and ");
    hint.textContent = missing ? `Add ${missing} first.` : "Longer training gives better results.";
    button.disabled = Boolean(missing);
  } };
}

function latestJobs(id, signal) {
  const list = h("div", {});
  const rows = new Map();
  const onJob = (job) => {
    if (job.dataset !== id) return;
    if (rows.has(job.id)) return rows.get(job.id).update(job);
    const row = jobRow(job, {});
    rows.set(job.id, row);
    list.prepend(row.element);
    section.hidden = false;
  };
  const section = h("section", { class: "stack", hidden: true }, h("h2", {}, "Latest jobs"), list);
  const reload = async () => (await get(`/jobs?dataset=${id}&limit=5`, signal)).items.reverse().forEach(onJob);
  reload().catch(showError);
  subscribeJobs({ onJob, reload }, signal);
  return section;
}

function photoBrowser(dataset, signal) {
  const lists = {};
  const tabs = {};
  let shownRole = null;
  const body = h("div", { role: "tabpanel", id: "photos", tabindex: -1 });
  const checks = photoChecks(dataset, signal, () => Object.values(lists).forEach((list) => list.update()));
  const listOf = (role) => (lists[role] ??= thumbnailGrid(dataset, role, checks, signal));
  const show = (role) => {
    shownRole = role;
    for (const [name, tab] of Object.entries(tabs)) tab.setAttribute("aria-selected", name === role);
    replace(body, listOf(role).element);
    listOf(role).layOut();
  };
  for (const role of Object.keys(ROLES)) {
    tabs[role] = h("button", { type: "button", role: "tab", "aria-controls": "photos", onclick: () => show(role) }, ROLES[role].name);
  }
  const element = h("section", { class: "stack", "aria-label": "Photos" },
    h("div", { class: "tabs", role: "tablist", "aria-label": "Which photos" }, Object.values(tabs)), checks.element, body);
  checks.reload();
  return {
    element, show,
    setCounts: (images) => { for (const [role, tab] of Object.entries(tabs)) tab.textContent = `${ROLES[role].name} (${formatInteger(images[role])})`; },
    reload: (role) => {
      if (shownRole === role) listOf(role).reloadEnd(); else delete lists[role];
      checks.reload();
    },
  };
}

function thumbnailGrid(dataset, role, checks, signal) {
  const paged = new PagedList(`/datasets/${dataset.id}/images?role=${role}`, signal, 500);
  const loadMore = () => paged.loadMore().then(() => grid.setItems(paged.items), showError);
  const grid = new VirtualList({
    create: (image) => thumbnail(dataset, image, checks), key: (image) => image.id, width: 104, square: true,
    label: ROLES[role].name, signal,
    loadMore: () => { if (!paged.done && !paged.fetching) loadMore(); },
  });
  return {
    element: grid.element,
    layOut: () => requestAnimationFrame(() => grid.layOut()),
    update: () => grid.setItems(paged.items),
    reloadEnd: async () => {
      await paged.fetching;
      // Photos are only appended, so the list continues after the last known one.
      paged.done = false;
      paged.cursor = paged.items.at(-1)?.id ?? null;
      loadMore();
    },
  };
}

function thumbnail(dataset, image, checks) {
  const mark = h("div", { class: "marks" });
  const element = h("div", { class: "thumb" }, mark);
  const update = () => replace(mark, findingMark(checks.findingsOf(image)));
  update();
  const onSeen = () => {
    const label = `${image.name}, ${image.width} × ${image.height}`;
    const picture = h("img", { alt: label, title: label, src: toUrl(`/datasets/${dataset.id}/images/${image.id}/thumbnail`),
      onerror: () => picture.replaceWith(h("div", { class: "none" }, label)) });
    element.append(picture);
  };
  return { element, update, onSeen };
}

function modelCard(model) {
  return h("a", { class: "card", href: `#/models/${model.id}` },
    h("h3", {}, `Model of ${formatTime(model.created)}`),
    h("p", { class: "small muted" }, `${model.preset} · ${formatCount(model.steps, "step")} in ${Math.max(1, Math.round(model.seconds / 60))} min`));
}

async function deleteDataset(dataset) {
  const confirmed = await confirmDialog(`Delete “${dataset.name}”?`, "This also deletes its photos, models and jobs. It cannot be undone.", "Delete");
  if (!confirmed) return;
  try {
    await remove(`/datasets/${dataset.id}`);
    notify(`Deleted “${dataset.name}”.`);
    location.hash = "#/datasets";
  } catch (error) { showError(error); }
}
