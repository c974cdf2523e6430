// A zone for dropped or chosen files. Folders are opened; hidden files of operating systems are skipped.

import { h } from "../dom.js";

const SYSTEM_FILES = /^(\.|Thumbs\.db$|desktop\.ini$|__MACOSX$)/i;

async function* readEntry(entry, path = "") {
  if (SYSTEM_FILES.test(entry.name)) return;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    yield { file, name: path + file.name };
    return;
  }
  const reader = entry.createReader();
  for (;;) { // each call returns up to a hundred entries, the last one none
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return;
    for (const child of entries) yield* readEntry(child, `${path}${entry.name}/`);
  }
}

async function readDropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return readChosen(transfer.files);
  const files = [];
  for (const entry of entries) for await (const file of readEntry(entry)) files.push(file);
  return files;
}

const readChosen = (files) =>
  [...files].map((file) => ({ file, name: file.webkitRelativePath || file.name }))
    .filter(({ name }) => !name.split("/").some((part) => SYSTEM_FILES.test(part)));

/** A drop zone with buttons that do the same. `onFiles` receives [{ file, name }]. */
export function dropZone({ label, hint, onFiles, folders = true, multiple = true }) {
  const pass = (files) => files.length && onFiles(multiple ? files : files.slice(0, 1));
  const picker = (options, text) => {
    const input = h("input", {
      type: "file", hidden: true, ...options, "aria-label": `${text}: ${label}`,
      onchange: () => { pass(readChosen(input.files)); input.value = ""; },
    });
    return [input, h("button", { type: "button", onclick: () => input.click() }, text)];
  };
  const zone = h("div", {
    class: "drop", role: "group", "aria-label": label,
    ondragover: (event) => { event.preventDefault(); zone.classList.add("over"); },
    ondragleave: () => zone.classList.remove("over"),
    ondrop: async (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      pass(await readDropped(event.dataTransfer));
    },
  },
  h("p", {}, label), hint && h("p", { class: "hint" }, hint),
  h("div", { class: "row" },
    picker({ multiple }, multiple ? "Choose files" : "Choose a file"),
    folders && picker({ webkitdirectory: true }, "Choose a folder")));
  return zone;
}
