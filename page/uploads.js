// Uploads continue in every view. An interrupted file is sent again; a large one resumes.

import { isRetryable, Problem, send } from "./api.js";
import { uploadResumable } from "./tus.js";

const CONCURRENCY = 3;
const RESUMABLE_BYTES = 8 * 2 ** 20; // larger files are sent in parts
const MAX_PAUSE_MS = 15_000;
const NOT_IMAGES = /^(video|audio|text|font)\/|^application\/(pdf|msword|json|vnd\.(openxml|ms-))/;

class Upload {
  constructor(dataset, role) {
    Object.assign(this, { dataset, role, waiting: [], active: new Set(), done: 0, images: 0, rejected: [], warnings: [], bytes: 0, finishedBytes: 0, error: null });
    this.options = {}; // form fields: frames, depth
    this.listeners = new Set();
  }

  get total() { return this.waiting.length + this.active.size + this.done; }
  get busy() { return this.waiting.length + this.active.size > 0; }
  get sentBytes() { return this.finishedBytes + [...this.active].reduce((sum, item) => sum + item.sent, 0); }

  add(files) {
    if (!this.busy) Object.assign(this, { done: 0, images: 0, rejected: [], warnings: [], bytes: 0, finishedBytes: 0 });
    for (const { file, name } of files) {
      if (NOT_IMAGES.test(file.type)) {
        this.rejected.push({ name, message: "Not an image or an archive of images; the file was not sent." });
      } else {
        this.waiting.push({ file, name, sent: 0, tries: 0 });
        this.bytes += file.size;
      }
    }
    this.notifyListeners();
    while (this.active.size < CONCURRENCY && this.waiting.length) this.#uploadNext();
  }

  async #uploadNext() {
    const item = this.waiting.shift();
    if (!item) return;
    this.active.add(item);
    try {
      while (!(await this.#tryUpload(item))) await this.#pause(item);
    } finally {
      this.active.delete(item);
      this.done += 1;
      this.finishedBytes += item.file.size;
      this.notifyListeners();
      this.#uploadNext();
    }
  }

  /** Tries once. Resolves to false if a retry may help. */
  async #tryUpload(item) {
    const onProgress = (bytes) => { item.sent = Math.min(bytes, item.file.size); this.notifyListeners(); };
    try {
      const upload = item.file.size > RESUMABLE_BYTES ? uploadResumable : uploadWhole;
      const { accepted, rejected, warnings } = await upload(this.dataset, this.role, item.file, item.name, this.options, onProgress);
      this.error = null;
      this.images += accepted.length;
      this.rejected.push(...rejected);
      this.warnings.push(...warnings);
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) {
        this.rejected.push({ name: item.name, message: `Upload failed: ${error.message}` });
        throw error;
      }
      const retry = isRetryable(error);
      this.error = retry ? error.message : null;
      if (!retry) this.rejected.push(...(error.rejected.length ? error.rejected : [{ name: item.name, message: error.message }]));
      this.notifyListeners();
      return !retry;
    }
  }

  #pause(item) {
    const milliseconds = Math.min(MAX_PAUSE_MS, 500 * 2 ** item.tries++);
    return new Promise((resolve) => {
      const end = () => { clearTimeout(timer); removeEventListener("online", end); resolve(); };
      const timer = setTimeout(end, milliseconds);
      addEventListener("online", end);
    });
  }

  notifyListeners() { for (const listener of this.listeners) listener(this); }
}

/** Sends a file in one request. The service stores the same bytes only once. */
async function uploadWhole(dataset, role, file, name, options, onProgress) {
  onProgress(0); // nothing of an earlier try was kept
  const body = new FormData();
  for (const [field, value] of Object.entries(options)) body.append(field, value);
  body.append("files", file, name);
  return (await send("POST", `/datasets/${dataset}/images?role=${role}`, { body, onProgress })).response;
}

const uploads = new Map();

/** Returns the one upload of a dataset and role; it may be idle. */
export function getUpload(dataset, role) {
  const key = `${dataset}/${role}`;
  if (!uploads.has(key)) uploads.set(key, new Upload(dataset, role));
  return uploads.get(key);
}

addEventListener("beforeunload", (event) => {
  if ([...uploads.values()].some((upload) => upload.busy)) event.preventDefault();
});
