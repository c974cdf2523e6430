// Images side by side, or one over the other, that are looked at through one window: zoom and place stay in step.

import { h } from "/page/dom.js";

/** Where all look: the middle as a share of the image, and how many times the whole image it is enlarged. */
export class Window {
  constructor() { Object.assign(this, { x: 0.5, y: 0.5, zoom: 1, drawers: new Set() }); }

  change({ x = this.x, y = this.y, zoom = this.zoom }) {
    this.zoom = Math.min(64, Math.max(1, zoom));
    const half = 0.5 / this.zoom;
    this.x = Math.min(1 - half, Math.max(half, x));
    this.y = Math.min(1 - half, Math.max(half, y));
    for (const draw of this.drawers) draw();
  }

  /** Makes an element move the window by dragging, pinching, the wheel and keys. */
  steer(element) {
    const fingers = new Map();
    const middle = () => { const all = [...fingers.values()]; return [all.reduce((sum, [x]) => sum + x, 0) / all.length, all.reduce((sum, [, y]) => sum + y, 0) / all.length]; };
    const spread = () => { const [a, b] = [...fingers.values()]; return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0; };
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); fingers.set(event.pointerId, [event.clientX, event.clientY]); });
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, (event) => fingers.delete(event.pointerId));
    element.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      const [before, apart] = [middle(), spread()];
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      const now = middle();
      const { clientWidth: wide, clientHeight: high } = element;
      const zoom = apart ? (this.zoom * spread()) / apart : this.zoom;
      this.change({ zoom, x: this.x - (now[0] - before[0]) / (wide * this.zoom), y: this.y - (now[1] - before[1]) / (high * this.zoom) });
    });
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = element.getBoundingClientRect();
      const [dx, dy] = [(event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5];
      const before = this.zoom;
      const zoom = Math.min(64, Math.max(1, before * Math.exp(-event.deltaY / 400)));
      this.change({ zoom, x: this.x + dx / before - dx / zoom, y: this.y + dy / before - dy / zoom });
    }, { passive: false });
    element.addEventListener("keydown", (event) => {
      const step = 0.1 / this.zoom;
      const moves = { ArrowLeft: { x: this.x - step }, ArrowRight: { x: this.x + step }, ArrowUp: { y: this.y - step }, ArrowDown: { y: this.y + step },
        "+": { zoom: this.zoom * 1.5 }, "=": { zoom: this.zoom * 1.5 }, "-": { zoom: this.zoom / 1.5 }, 0: { zoom: 1 } };
      if (moves[event.key]) { event.preventDefault(); this.change(moves[event.key]); }
    });
  }

  /** Draws `image` into the canvas whenever the window changes; pixels stay pixels when they are large. */
  show(canvas, image) {
    const draw = () => {
      const ratio = devicePixelRatio || 1;
      const [wide, high] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
      if (!wide || !high) return;
      if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
      const context = canvas.getContext("2d");
      const fit = Math.min(wide / image.width, high / image.height);
      const scale = fit * this.zoom;
      context.clearRect(0, 0, wide, high);
      context.imageSmoothingEnabled = scale < 2;
      context.imageSmoothingQuality = "high";
      context.drawImage(image, wide / 2 - this.x * image.width * scale, high / 2 - this.y * image.height * scale, image.width * scale, image.height * scale);
    };
    this.drawers.add(draw);
    new ResizeObserver(draw).observe(canvas);
  }

  buttons() {
    const button = (text, label, change) => h("button", { type: "button", "aria-label": label, onclick: () => this.change(change()) }, text);
    return h("div", { class: "row" },
      button("−", "Zoom out", () => ({ zoom: this.zoom / 1.5 })), button("+", "Zoom in", () => ({ zoom: this.zoom * 1.5 })), button("Whole", "Show the whole image", () => ({ zoom: 1 })),
      h("span", { class: "hint" }, "or wheel, pinch, drag, arrow keys"));
  }
}

export function pane(view, title, image, hint) {
  const canvas = h("canvas", {});
  const box = h("div", { class: "pane", tabindex: 0, role: "img", "aria-label": `${title}${hint ? `, ${hint}` : ""}` }, canvas);
  view.show(canvas, image);
  view.steer(box);
  return h("figure", {}, h("figcaption", {}, title, hint && h("span", { class: "hint" }, hint)), box);
}

/** Two images of the same thing, one over the other, with a border between them that can be moved. */
export function beforeAfter(view, before, after, [left, right]) {
  const [under, over] = [h("canvas", {}), h("canvas", {})];
  const handle = h("div", { class: "handle" });
  const box = h("div", { class: "slider", tabindex: 0, role: "img", "aria-label": `${left} and ${right}, one over the other` },
    under, over, handle, h("span", { class: "tag left" }, left), h("span", { class: "tag right" }, right));
  const range = h("input", { type: "range", class: "slider-range", min: 0, max: 100, step: 0.5, value: "50", "aria-label": `Border between ${left} and ${right}`,
    oninput: () => place(Number(range.value)) });
  const place = (percent) => {
    over.style.clipPath = `inset(0 0 0 ${percent}%)`;
    handle.style.left = `${percent}%`;
  };
  const ratio = after.width / after.height;
  box.style.aspectRatio = ratio;
  place(50);
  view.show(under, before);
  view.show(over, after);
  view.steer(box);
  const both = h("div", { class: "compare" }, box, range);
  both.style.width = `min(100%, ${75 * ratio}vh)`;
  return both;
}
