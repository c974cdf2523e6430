// A list or grid of which only what is in sight is in the document, however long it is.

import { h } from "/page/dom.js";

const BEYOND = 600; // pixels above and below the window that are kept ready

/**
 * `make(item)` gives { element, update(item)? }; `key(item)` tells items apart. Every item is `height` pixels high, and
 * at least `width` wide where there shall be columns. `more` is called when the end comes near.
 */
export class Virtual {
  constructor({ make, key, height, width = Infinity, square = false, more, label, signal }) {
    Object.assign(this, { make, key, height, width, square, more, items: [], shown: new Map() });
    this.element = h("ul", { class: "virtual", "aria-label": label });
    const layOut = () => { this.due ??= requestAnimationFrame(() => { this.due = null; this.layOut(); }); };
    addEventListener("scroll", layOut, { passive: true, signal });
    const observer = new ResizeObserver(layOut);
    observer.observe(this.element);
    signal.addEventListener("abort", () => observer.disconnect());
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
        one = { ...part, place: h("li", { "aria-setsize": this.items.length }, part.element) };
        this.element.append(one.place);
      }
      one.place.setAttribute("aria-posinset", index + 1);
      Object.assign(one.place.style, {
        width: `${width}px`,
        height: `${height}px`,
        transform: `translate(${(index % columns) * width}px, ${Math.floor(index / columns) * height}px)`,
      });
      this.shown.set(key, one);
    }
    for (const gone of before.values()) gone.place.remove();
    if (last >= this.items.length - 2 * columns) this.more?.();
  }
}
