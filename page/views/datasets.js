// All datasets, and a form to create one.

import { get, post } from "../api.js";
import { dropZone } from "../components/dropZone.js";
import { h, replace, showError } from "../dom.js";
import { formatCount, formatTime } from "../format.js";
import { getUpload } from "../uploads.js";

export async function show(main, { signal }) {
  const { items } = await get("/datasets?limit=1000", signal);
  replace(main,
    h("div", {},
      h("h1", {}, "Datasets"),
      h("p", { class: "muted" }, "A dataset holds real photos of one camera, phone, scanner or website, clean photos of other scenes, best of similar things, and the models trained on them.")),
    items.length > 0 && h("ul", { class: "cards" }, items.map((dataset) => h("li", {}, datasetCard(dataset)))),
    createForm());
  return "Datasets";
}

function datasetCard(dataset) {
  const { lr, hr } = dataset.images;
  const job = dataset.last_job;
  return h("a", { class: "card", href: `#/datasets/${dataset.id}` },
    h("h3", {}, dataset.name),
    h("p", { class: "small" }, `${formatCount(lr, "real photo")} · ${formatCount(hr, "clean photo")} · ×${dataset.scale}`),
    h("p", { class: "small muted" },
      dataset.models.length ? formatCount(dataset.models.length, "model") : "no model yet",
      ` · created ${formatTime(dataset.created)} `,
      job && (job.status === "running" || job.status === "queued") && h("span", { class: "pill running" }, "running")));
}

function createForm() {
  let files = [];
  const name = h("input", { name: "name", required: true, maxlength: 200, autocomplete: "off", placeholder: "photos of an old phone" });
  const selection = h("p", { class: "small", role: "status" });
  const button = h("button", { class: "primary", type: "submit" }, "Create dataset");
  const onFiles = (chosen) => {
    files = chosen;
    selection.textContent = `${formatCount(files.length, "file")} ready to upload.`;
    const folder = files[0].name.includes("/") ? files[0].name.split("/")[0] : files[0].name.replace(/\.(zip|tar|tgz|tar\.gz)$/i, "");
    if (!name.value && (files.length > 1 || folder !== files[0].name)) name.value = folder.slice(0, 200);
    name.focus();
  };
  const create = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const scale = Number(new FormData(form).get("scale"));
      const dataset = await post("/datasets", { name: name.value, scale });
      if (files.length) getUpload(dataset.id, "lr").add(files);
      location.hash = `#/datasets/${dataset.id}`;
    } catch (error) {
      showError(error);
      button.disabled = false;
    }
  };
  const form = h("form", { class: "card", onsubmit: create },
    h("h2", {}, "New dataset"),
    dropZone({
      label: "Drop a folder or an archive of real, low-resolution photos here",
      hint: "All from one source. JPEG, HEIC, PNG, TIFF, WebP, AVIF and others; .zip or .tar.", onFiles,
    }),
    selection,
    h("div", { class: "fields" },
      h("label", {}, "Name", name),
      h("fieldset", {},
        h("legend", {}, "Scale ", h("span", { class: "hint" }, "super-resolution factor; ×1 restores without upscaling")),
        h("div", { class: "choice" }, [1, 2, 3, 4, 8].map((scale) =>
          h("label", {}, h("input", { type: "radio", name: "scale", value: String(scale), checked: scale === 4 }), h("span", {}, `×${scale}`)))))),
    h("div", { class: "row" }, button));
  return form;
}
