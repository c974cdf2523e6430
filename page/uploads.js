// Uploads go on whichever view is shown. A file whose way was cut off is sent again, a large one from there on.

import { passes, Problem, send } from "/page/api.js";
import { sendInParts } from "/page/resumable.js";

const AT_ONCE = 3;
const IN_PARTS_BYTES = 8 * 2 ** 20; // files larger than this
const LONGEST_PAUSE_MS = 15_000;
const NO_IMAGES = /^(video|audio|text|font)\/|^application\/(pdf|msword|json|vnd\.(openxml|ms-))/;

class Upload {
  constructor(dataset, role) {
    Object.assign(this, { dataset, role, waiting: [], active: new Set(), done: 0, images: 0, refused: [], bytes: 0, sent: 0, trouble: null });
    this.listeners = new Set();
  }

  get total() { return this.waiting.length + this.active.size + this.done; }
  get busy() { return this.waiting.length + this.active.size > 0; }
  get sentNow() { return this.sent + [...this.active].reduce((sum, each) => sum + each.sent, 0); }

  add(files) {
    if (!this.busy) Object.assign(this, { done: 0, images: 0, refused: [], bytes: 0, sent: 0 });
    for (const { file, name } of files) {
      if (NO_IMAGES.test(file.type)) {
        this.refused.push({ name, message: "This is no image and no archive of images; it was not sent." });
      } else {
        this.waiting.push({ file, name, sent: 0, tries: 0 });
        this.bytes += file.size;
      }
    }
    this.tell();
    while (this.active.size < AT_ONCE && this.waiting.length) this.#next();
  }

  async #next() {
    const one = this.waiting.shift();
    if (!one) return;
    this.active.add(one);
    try {
      while (!(await this.#send(one))) await this.#pause(one);
    } finally {
      this.active.delete(one);
      this.done += 1;
      this.sent += one.file.size;
      this.tell();
      this.#next();
    }
  }

  /** Once. Gives false where it is worth trying again. */
  async #send(one) {
    const sent = (bytes) => { one.sent = Math.min(bytes, one.file.size); this.tell(); };
    try {
      const sendOne = one.file.size > IN_PARTS_BYTES ? sendInParts : sendWhole;
      const { accepted, rejected } = await sendOne(this.dataset, this.role, one.file, one.name, sent);
      this.trouble = null;
      this.images += accepted.length;
      this.refused.push(...rejected);
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) {
        this.refused.push({ name: one.name, message: `The page failed at it: ${error.message}` });
        throw error;
      }
      const again = passes(error);
      this.trouble = again ? error.message : null;
      if (!again) this.refused.push(...(error.rejected.length ? error.rejected : [{ name: one.name, message: error.message }]));
      this.tell();
      return !again;
    }
  }

  #pause(one) {
    const pause = Math.min(LONGEST_PAUSE_MS, 500 * 2 ** one.tries++);
    return new Promise((resolve) => {
      const go = () => { clearTimeout(timer); removeEventListener("online", go); resolve(); };
      const timer = setTimeout(go, pause);
      addEventListener("online", go);
    });
  }

  tell() { for (const listener of this.listeners) listener(this); }
}

/** The same bytes are one image, however often they come. */
async function sendWhole(dataset, role, file, name, sent) {
  sent(0); // of an attempt before nothing has stayed
  const body = new FormData();
  body.append("files", file, name);
  return (await send("POST", `/datasets/${dataset}/images?role=${role}`, { body, sent })).response;
}

const uploads = new Map();

/** The upload of that kind of photos to that dataset; there is one, which may have nothing to do. */
export function uploadOf(dataset, role) {
  const key = `${dataset}/${role}`;
  if (!uploads.has(key)) uploads.set(key, new Upload(dataset, role));
  return uploads.get(key);
}

addEventListener("beforeunload", (event) => {
  if ([...uploads.values()].some((upload) => upload.busy)) event.preventDefault();
});
