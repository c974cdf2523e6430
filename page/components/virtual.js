// A list or grid of any length that keeps only the visible items in the document.

import { h } from "../dom.js";

const OVERSCAN_PX = 600; // above and below the window
const FAST_PX_PER_MS = 2.5; // items that scroll by faster are not seen
const REST_MS = 100; // time without scrolling after which items count as seen
const BATCH = 32; // items that are marked as seen together
const BATCH_INTERVAL_MS = 15;

/**
 * `create(item)` returns { element, update(item)?, onSeen()? }; `key(item)` identifies an item. Every item is `height`
 * pixels high, and at least `width` pixels wide in a grid. `onSeen` runs once, and not while items scroll by fast; it
 * is the place to fetch pictures. `loadMore` is called near the end of the list.
 */
export class VirtualList {
  constructor({ create, key, height, width = Infinity, square = false, loadMore, label, signal }) {
    Object.assign(this, { create, key, height, width, square, loadMore, items: [], entries: new Map(), lastTop: 0, lastTime: 0 });
    this.element = h("ul", { class: "virtual", "aria-label": label });
    const schedule = () => { this.frame ??= requestAnimationFrame(() => { this.frame = null; this.layOut(); }); };
    addEventListener("scroll", schedule, { passive: true, signal });
    const observer = new ResizeObserver(schedule);
    observer.observe(this.element);
    signal.addEventListener("abort", () => { observer.disconnect(); clearTimeout(this.timer); });
  }

  setItems(items) {
    this.items = items;
    this.layOut(true);
  }

  layOut(itemsChanged = false) {
    const listWidth = this.element.clientWidth;
    if (!listWidth) return;
    const columns = Number.isFinite(this.width) ? Math.max(1, Math.floor(listWidth / this.width)) : 1;
    const width = listWidth / columns;
    const height = this.square ? width : this.height;
    const rows = Math.ceil(this.items.length / columns);
    this.element.style.height = `${rows * height}px`;
    const top = this.element.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((-top - OVERSCAN_PX) / height)) * columns;
    const last = Math.min(this.items.length, Math.ceil((innerHeight - top + OVERSCAN_PX) / height) * columns);
    const oldEntries = this.entries;
    this.entries = new Map();
    for (let index = first; index < last; index++) {
      const item = this.items[index];
      const key = this.key(item);
      let entry = oldEntries.get(key);
      if (entry) {
        oldEntries.delete(key);
        if (itemsChanged) entry.update?.(item);
      } else {
        const created = this.create(item);
        entry = { ...created, cell: h("li", {}, created.element) };
        this.element.append(entry.cell);
      }
      const position = [index, columns, width, this.items.length].join();
      if (entry.position !== position) { // most entries do not move and need no work
        entry.position = position;
        entry.cell.setAttribute("aria-posinset", index + 1);
        entry.cell.setAttribute("aria-setsize", this.items.length);
        Object.assign(entry.cell.style, {
          width: `${width}px`,
          height: `${height}px`,
          transform: `translate(${(index % columns) * width}px, ${Math.floor(index / columns) * height}px)`,
        });
      }
      this.entries.set(key, entry);
    }
    for (const entry of oldEntries.values()) entry.cell.remove();
    this.detectSeen(top);
    if (last >= this.items.length - 2 * columns) this.loadMore?.();
  }

  /** Items count as seen when the list scrolls slowly or rests. */
  detectSeen(top) {
    if (this.timer && top === this.lastTop) return;
    const now = performance.now();
    const isFast = Math.abs(top - this.lastTop) > FAST_PX_PER_MS * (now - this.lastTime);
    Object.assign(this, { lastTop: top, lastTime: now });
    clearTimeout(this.timer);
    if (isFast) this.timer = setTimeout(() => this.markSeen(), REST_MS);
    else this.markSeen();
  }

  /** Works in batches, so that the browser can paint in between. */
  markSeen() {
    const unseen = Array.from(this.entries.values()).filter((entry) => entry.onSeen);
    for (const entry of unseen.slice(0, BATCH)) {
      entry.onSeen();
      entry.onSeen = null;
    }
    this.timer = unseen.length > BATCH ? setTimeout(() => this.markSeen(), BATCH_INTERVAL_MS) : null;
  }
}
