// One dataset: its photos, how to add some, how to train, and what was learned.

import { get, Paged, post, remove } from "/page/api.js";
import { complain, confirmed, h, replace, say } from "/page/dom.js";
import { followJobs } from "/page/live.js";
import { dropPlace } from "/page/parts/files.js";
import { jobRow } from "/page/parts/jobrow.js";
import { Virtual } from "/page/parts/virtual.js";
import { uploadOf } from "/page/uploads.js";
import { count, percent, size, whole, when } from "/page/words.js";

const ROLES = {
  lr: { name: "Real photos", what: "low-resolution, all from one source", drop: "Drop real photos here" },
  hr: { name: "Clean photos", what: "sharp and clean, of anything", drop: "Drop clean photos here" },
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
  const learned = h("div", { class: "stack" });
  const { items: models } = await get(`/models?dataset=${id}&limit=100`, signal);

  const refresh = async () => {
    dataset = await get(`/datasets/${id}`, signal);
    for (const role of ["lr", "hr"]) counts[role].textContent = whole(dataset.images[role]);
    photos.counted(dataset.images);
    training.ready(dataset);
  };
  const jobs = jobsOf(id, signal);
  replace(main,
    h("div", { class: "head" },
      h("div", {},
        h("p", { class: "crumb" }, h("a", { href: "#/datasets" }, "Datasets")),
        h("h1", {}, dataset.name),
        h("p", { class: "quiet" }, `×${dataset.scale} · made ${when(dataset.created)}`)),
      h("button", { class: "grave", onclick: () => drop(dataset) }, "Delete")),
    h("div", { class: "columns" }, Object.keys(ROLES).map((role) => adder(dataset, role, counts[role], refresh, photos, signal))),
    training.element,
    learned,
    jobs,
    photos.element);
  if (models.length) replace(learned, h("h2", {}, "What was learned"), h("ul", { class: "cards" }, models.map((model) => h("li", {}, modelCard(model)))));
  await refresh();
  photos.show("lr");
  return dataset.name;
}

function adder(dataset, role, counted, refresh, photos, signal) {
  const upload = uploadOf(dataset.id, role);
  const bar = h("div", { class: "bar", role: "progressbar", "aria-label": `Upload of ${ROLES[role].name.toLowerCase()}`, "aria-valuemin": 0, "aria-valuemax": 100 }, h("span", {}));
  const words = h("p", { class: "small number" });
  const refused = h("div", {});
  const progress = h("div", { class: "stack", hidden: true }, bar, words, refused);
  let seen = -1;
  const tell = () => {
    progress.hidden = upload.total + upload.refused.length === 0;
    const share = upload.bytes ? Math.min(1, upload.sentNow / upload.bytes) : 1;
    bar.firstChild.style.width = `${100 * share}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * share));
    bar.hidden = !upload.busy;
    words.textContent = upload.trouble ?? (upload.busy
      ? `${whole(upload.done)} of ${count(upload.total, "file")} sent · ${percent(share)} of ${size(upload.bytes)}`
      : `${count(upload.images, "photo")} taken${upload.refused.length ? `, ${upload.refused.length} refused` : ""}.`);
    if (upload.refused.length) replace(refused, h("details", { open: upload.refused.length < 6 },
      h("summary", {}, `${count(upload.refused.length, "file")} refused`),
      h("ul", { class: "refused" }, upload.refused.slice(0, 500).map((each) => h("li", {}, h("strong", {}, each.name), ` ${each.message}`)))));
    else replace(refused);
    if (upload.done !== seen && (!upload.busy || upload.done % 25 === 0)) {
      seen = upload.done;
      if (upload.done) { refresh().catch(complain); photos.changed(role); }
    }
  };
  upload.listeners.add(tell);
  signal.addEventListener("abort", () => upload.listeners.delete(tell));
  tell();
  return h("section", { class: "card", "aria-label": ROLES[role].name },
    h("div", { class: "head" }, h("h2", {}, ROLES[role].name), h("p", { class: "quiet" }, counted)),
    dropPlace({ label: ROLES[role].drop, hint: ROLES[role].what, take: (files) => upload.add(files) }),
    progress);
}

function trainForm(dataset) {
  const missing = h("p", { class: "quiet" });
  const button = h("button", { class: "first", type: "submit" }, "Train");
  const form = h("form", { class: "card", onsubmit: async (event) => {
    event.preventDefault();
    const fields = new FormData(form);
    button.disabled = true;
    try {
      const job = await post(`/datasets/${dataset.id}/train`, {
        preset: fields.get("preset"), max_minutes: Number(fields.get("minutes")), seed: Number(fields.get("seed")),
      });
      location.hash = `#/jobs/${job.id}`;
    } catch (error) { complain(error); button.disabled = false; }
  } },
  h("h2", {}, "Train"), missing,
  h("div", { class: "fields" },
    h("label", {}, "Minutes", h("input", { name: "minutes", type: "number", min: 0.1, step: "any", value: "10", required: true })),
    h("label", {}, "Preset", h("select", { name: "preset" }, Object.entries(PRESETS).map(([name, said]) => h("option", { value: name }, said)))),
    h("label", {}, "Seed", h("input", { name: "seed", type: "number", min: 0, step: 1, value: "0", required: true })),
    button));
  return { element: form, ready: ({ images }) => {
    const lacking = [!images.lr && "real photos", !images.hr && "clean photos"].filter(Boolean).join(" and ");
    missing.textContent = lacking ? `Add ${lacking} first.` : "The longer, the better.";
    button.disabled = Boolean(lacking);
  } };
}

function jobsOf(id, signal) {
  const list = h("div", {});
  const rows = new Map();
  const place = (job) => {
    if (job.dataset !== id) return;
    if (rows.has(job.id)) return rows.get(job.id).update(job);
    const row = jobRow(job, {});
    rows.set(job.id, row);
    list.prepend(row.element);
    section.hidden = false;
  };
  const section = h("section", { class: "stack", hidden: true }, h("h2", {}, "Latest jobs"), list);
  const reload = async () => (await get(`/jobs?dataset=${id}&limit=5`, signal)).items.reverse().forEach(place);
  reload().catch(complain);
  followJobs({ job: place, reload }, signal);
  return section;
}

function photoBrowser(dataset, signal) {
  const lists = {};
  const tabs = {};
  let shown = null;
  const body = h("div", { role: "tabpanel", id: "photos", tabindex: -1 });
  const listOf = (role) => (lists[role] ??= thumbnails(dataset, role, signal));
  const show = (role) => {
    shown = role;
    for (const [each, tab] of Object.entries(tabs)) tab.setAttribute("aria-selected", each === role);
    replace(body, listOf(role).element);
    listOf(role).start();
  };
  for (const role of Object.keys(ROLES)) {
    tabs[role] = h("button", { type: "button", role: "tab", "aria-controls": "photos", onclick: () => show(role) }, ROLES[role].name);
  }
  const element = h("section", { class: "stack", "aria-label": "Photos" },
    h("div", { class: "tabs", role: "tablist", "aria-label": "Which photos" }, Object.values(tabs)), body);
  return {
    element, show,
    counted: (images) => { for (const [role, tab] of Object.entries(tabs)) tab.textContent = `${ROLES[role].name} (${whole(images[role])})`; },
    changed: (role) => { if (shown === role) listOf(role).again(); else delete lists[role]; },
  };
}

function thumbnails(dataset, role, signal) {
  const paged = new Paged(`/datasets/${dataset.id}/images?role=${role}`, signal, 500);
  const grid = new Virtual({
    make: (image) => thumbnail(dataset, image), key: (image) => image.id, width: 104, square: true,
    label: ROLES[role].name, signal,
    more: () => { if (!paged.done && !paged.fetching) paged.more().then(() => grid.set(paged.items), complain); },
  });
  return {
    element: grid.element,
    start: () => requestAnimationFrame(() => grid.layOut()),
    again: async () => {
      await paged.fetching;
      // The list only grows: its last page is asked for once more.
      paged.done = false;
      paged.cursor = paged.items.at(-1)?.id ?? null;
      paged.more().then(() => grid.set(paged.items), complain);
    },
  };
}

function thumbnail(dataset, image) {
  const element = h("div", { class: "thumb" });
  const seen = () => {
    const words = `${image.name}, ${image.width} × ${image.height}`;
    const picture = h("img", { alt: words, title: words, src: `/datasets/${dataset.id}/images/${image.id}/thumbnail`,
      onerror: () => picture.replaceWith(h("div", { class: "none" }, words)) });
    element.append(picture);
  };
  return { element, seen };
}

function modelCard(model) {
  return h("a", { class: "card", href: `#/models/${model.id}` },
    h("h3", {}, `Model of ${when(model.created)}`),
    h("p", { class: "small quiet" }, `${model.preset} · ${count(model.steps, "step")} in ${Math.max(1, Math.round(model.seconds / 60))} min`));
}

async function drop(dataset) {
  const sure = await confirmed(`Delete “${dataset.name}”?`, "Its photos, models and jobs are deleted with it. This cannot be undone.", "Delete it");
  if (!sure) return;
  try {
    await remove(`/datasets/${dataset.id}`);
    say(`“${dataset.name}” is deleted.`);
    location.hash = "#/datasets";
  } catch (error) { complain(error); }
}
