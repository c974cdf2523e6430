// All datasets, and how to make one.

import { get, post } from "/page/api.js";
import { complain, h, replace } from "/page/dom.js";
import { dropPlace } from "/page/parts/files.js";
import { uploadOf } from "/page/uploads.js";
import { count, when } from "/page/words.js";

export async function show(main, { signal }) {
  const { items } = await get("/datasets?limit=1000", signal);
  replace(main,
    h("div", {},
      h("h1", {}, "Datasets"),
      h("p", { class: "quiet" }, "Photos of one camera, phone, scanner or website, clean photos of anything, and what was learned from the two.")),
    items.length > 0 && h("ul", { class: "cards" }, items.map((dataset) => h("li", {}, card(dataset)))),
    maker());
  return "Datasets";
}

function card(dataset) {
  const { lr, hr } = dataset.images;
  const job = dataset.last_job;
  return h("a", { class: "card", href: `#/datasets/${dataset.id}` },
    h("h3", {}, dataset.name),
    h("p", { class: "small" }, `${count(lr, "real photo")} · ${count(hr, "clean photo")} · ×${dataset.scale}`),
    h("p", { class: "small quiet" },
      dataset.models.length ? count(dataset.models.length, "model") : "nothing learned yet",
      ` · made ${when(dataset.created)} `,
      job && (job.status === "running" || job.status === "queued") && h("span", { class: "pill running" }, "at work")));
}

function maker() {
  let files = [];
  const name = h("input", { name: "name", required: true, maxlength: 200, autocomplete: "off", placeholder: "photos of an old phone" });
  const held = h("p", { class: "small", role: "status" });
  const button = h("button", { class: "first", type: "submit" }, "Make the dataset");
  const take = (taken) => {
    files = taken;
    held.textContent = `${count(files.length, "file")} ready to be sent.`;
    const folder = files[0].name.includes("/") ? files[0].name.split("/")[0] : files[0].name.replace(/\.(zip|tar|tgz|tar\.gz)$/i, "");
    if (!name.value && (files.length > 1 || folder !== files[0].name)) name.value = folder.slice(0, 200);
    name.focus();
  };
  const make = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const scale = Number(new FormData(form).get("scale"));
      const dataset = await post("/datasets", { name: name.value, scale });
      if (files.length) uploadOf(dataset.id, "lr").add(files);
      location.hash = `#/datasets/${dataset.id}`;
    } catch (error) {
      complain(error);
      button.disabled = false;
    }
  };
  const form = h("form", { class: "card", onsubmit: make },
    h("h2", {}, "New dataset"),
    dropPlace({
      label: "Drop a folder or an archive of real, low-resolution photos here",
      hint: "All from one source. PNG, JPEG, WebP, TIFF or BMP; .zip or .tar.", take,
    }),
    held,
    h("div", { class: "fields" },
      h("label", {}, "Name", name),
      h("fieldset", {},
        h("legend", {}, "Scale ", h("span", { class: "hint" }, "how many times larger images shall become")),
        h("div", { class: "choice" }, [2, 3, 4].map((scale) =>
          h("label", {}, h("input", { type: "radio", name: "scale", value: String(scale), checked: scale === 4 }), h("span", {}, `×${scale}`)))))),
    h("div", { class: "row" }, button));
  return form;
}
