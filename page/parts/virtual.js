// A list or grid of which only what is in sight is in the document, however long it is.

import { h } from "/page/dom.js";

const BEYOND = 600; // pixels above and below the window that are kept ready
const FAST = 2.5; // pixels in a millisecond: faster than this nobody sees what flies past
const REST = 100; // milliseconds without scrolling after which it is looked at
const AT_ONCE = 32; // items that are seen together
const NEXT = 15; // milliseconds until the next of them

/**
 * `make(item)` gives { element, update(item)?, seen()? }; `key(item)` tells items apart. Every item is `height` pixels
 * high, and at least `width` wide where there shall be columns. `seen` is called once, and not for what only flies past:
 * there is the place to fetch pictures. `more` is called when the end comes near.
 */
export class Virtual {
  constructor({ make, key, height, width = Infinity, square = false, more, label, signal }) {
    Object.assign(this, { make, key, height, width, square, more, items: [], shown: new Map(), top: 0, at: 0 });
    this.element = h("ul", { class: "virtual", "aria-label": label });
    const layOut = () => { this.due ??= requestAnimationFrame(() => { this.due = null; this.layOut(); }); };
    addEventListener("scroll", layOut, { passive: true, signal });
    const observer = new ResizeObserver(layOut);
    observer.observe(this.element);
    signal.addEventListener("abort", () => { observer.disconnect(); clearTimeout(this.resting); });
  }

  /** Shows these items from now on. */
  set(items) {
    this.items = items;
    this.layOut(true);
  }

  layOut(changed = false) {
    const wide = this.element.clientWidth;
    if (!wide) return;
    const columns = Number.isFinite(this.width) ? Math.max(1, Math.floor(wide / this.width)) : 1;
    const width = wide / columns;
    const height = this.square ? width : this.height;
    const rows = Math.ceil(this.items.length / columns);
    this.element.style.height = `${rows * height}px`;
    const top = this.element.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((-top - BEYOND) / height)) * columns;
    const last = Math.min(this.items.length, Math.ceil((innerHeight - top + BEYOND) / height) * columns);
    const before = this.shown;
    this.shown = new Map();
    for (let index = first; index < last; index++) {
      const item = this.items[index];
      const key = this.key(item);
      let one = before.get(key);
      if (one) {
        before.delete(key);
        if (changed) one.update?.(item);
      } else {
        const part = this.make(item);
        one = { ...part, place: h("li", {}, part.element) };
        this.element.append(one.place);
      }
      const spot = [index, columns, width, this.items.length].join();
      if (one.spot !== spot) { // most stay where they are, and cost nothing
        one.spot = spot;
        one.place.setAttribute("aria-posinset", index + 1);
        one.place.setAttribute("aria-setsize", this.items.length);
        Object.assign(one.place.style, {
          width: `${width}px`,
          height: `${height}px`,
          transform: `translate(${(index % columns) * width}px, ${Math.floor(index / columns) * height}px)`,
        });
      }
      this.shown.set(key, one);
    }
    for (const gone of before.values()) gone.place.remove();
    this.lookAt(top);
    if (last >= this.items.length - 2 * columns) this.more?.();
  }

  /** Items are seen where the list moves slowly, or has come to rest. */
  lookAt(top) {
    if (this.resting && top === this.top) return;
    const now = performance.now();
    const fast = Math.abs(top - this.top) > FAST * (now - this.at);
    Object.assign(this, { top, at: now });
    clearTimeout(this.resting);
    if (fast) this.resting = setTimeout(() => this.see(), REST);
    else this.see();
  }

  /** A few at a time, so that the browser can paint between them. */
  see() {
    const unseen = Array.from(this.shown.values()).filter((one) => one.seen);
    for (const one of unseen.slice(0, AT_ONCE)) {
      one.seen();
      one.seen = null;
    }
    this.resting = unseen.length > AT_ONCE ? setTimeout(() => this.see(), NEXT) : null;
  }
}
