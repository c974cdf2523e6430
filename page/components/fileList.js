// Files with a message each, such as why one was rejected.

import { h } from "../dom.js";

const MAX_FILES = 500;

/** Returns a list that opens by itself if it is short; nothing without files. */
export function fileList(title, files) {
  if (!files.length) return [];
  const items = files.slice(0, MAX_FILES).map((file) => h("li", {}, h("strong", {}, file.name), ` ${file.message}`));
  return [h("details", { open: files.length < 6 }, h("summary", {}, title), h("ul", { class: "rejected" }, items))];
}
