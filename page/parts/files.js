// Files that are dropped or chosen: folders are opened, and what systems leave in them is passed over.

import { h } from "/page/dom.js";

const LEFT_BY_SYSTEMS = /^(\.|Thumbs\.db$|desktop\.ini$|__MACOSX$)/i;

async function* filesOf(entry, path = "") {
  if (LEFT_BY_SYSTEMS.test(entry.name)) return;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    yield { file, name: path + file.name };
    return;
  }
  const reader = entry.createReader();
  for (;;) { // gives a hundred at a time, and none at the end
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const inner of some) yield* filesOf(inner, `${path}${entry.name}/`);
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return chosen(transfer.files);
  const found = [];
  for (const entry of entries) for await (const each of filesOf(entry)) found.push(each);
  return found;
}

const chosen = (files) =>
  [...files].map((file) => ({ file, name: file.webkitRelativePath || file.name })).filter((each) => !each.name.split("/").some((part) => LEFT_BY_SYSTEMS.test(part)));

/** A place to drop files on, with buttons that do the same. `take` is given [{ file, name }]. */
export function dropPlace({ label, hint, take, folders = true, multiple = true }) {
  const given = (files) => files.length && take(multiple ? files : files.slice(0, 1));
  const input = (options, text) => {
    const field = h("input", {
      type: "file", hidden: true, ...options, "aria-label": `${text}: ${label}`,
      onchange: () => { given(chosen(field.files)); field.value = ""; },
    });
    return [field, h("button", { type: "button", onclick: () => field.click() }, text)];
  };
  const place = h("div", {
    class: "drop", role: "group", "aria-label": label,
    ondragover: (event) => { event.preventDefault(); place.classList.add("over"); },
    ondragleave: () => place.classList.remove("over"),
    ondrop: async (event) => {
      event.preventDefault();
      place.classList.remove("over");
      given(await dropped(event.dataTransfer));
    },
  },
  h("p", {}, label), hint && h("p", { class: "hint" }, hint),
  h("div", { class: "row" },
    input({ multiple }, multiple ? "Choose files" : "Choose a file"),
    folders && input({ webkitdirectory: true }, "Choose a folder")));
  return place;
}
