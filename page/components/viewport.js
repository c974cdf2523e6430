// Images that share one viewport: zoom and position stay in sync, side by side or one over the other.

import { h } from "../dom.js";

/** The visible part: its center as a fraction of the image, and the zoom. 1 shows the whole image. */
export class Viewport {
  constructor() { Object.assign(this, { x: 0.5, y: 0.5, zoom: 1, drawFunctions: new Set() }); }

  change({ x = this.x, y = this.y, zoom = this.zoom }) {
    this.zoom = Math.min(64, Math.max(1, zoom));
    const half = 0.5 / this.zoom;
    this.x = Math.min(1 - half, Math.max(half, x));
    this.y = Math.min(1 - half, Math.max(half, y));
    for (const draw of this.drawFunctions) draw();
  }

  /** Controls the viewport from an element: drag, pinch, wheel and keys. */
  bindControls(element) {
    const pointers = new Map();
    const center = () => { const all = [...pointers.values()]; return [all.reduce((sum, [x]) => sum + x, 0) / all.length, all.reduce((sum, [, y]) => sum + y, 0) / all.length]; };
    const distance = () => { const [a, b] = [...pointers.values()]; return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0; };
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); pointers.set(event.pointerId, [event.clientX, event.clientY]); });
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, (event) => pointers.delete(event.pointerId));
    element.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      const [oldCenter, oldDistance] = [center(), distance()];
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      const newCenter = center();
      const { clientWidth: width, clientHeight: height } = element;
      const zoom = oldDistance ? (this.zoom * distance()) / oldDistance : this.zoom;
      this.change({ zoom, x: this.x - (newCenter[0] - oldCenter[0]) / (width * this.zoom), y: this.y - (newCenter[1] - oldCenter[1]) / (height * this.zoom) });
    });
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = element.getBoundingClientRect();
      const [dx, dy] = [(event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5];
      const oldZoom = this.zoom;
      const zoom = Math.min(64, Math.max(1, oldZoom * Math.exp(-event.deltaY / 400)));
      this.change({ zoom, x: this.x + dx / oldZoom - dx / zoom, y: this.y + dy / oldZoom - dy / zoom });
    }, { passive: false });
    element.addEventListener("keydown", (event) => {
      const step = 0.1 / this.zoom;
      const moves = { ArrowLeft: { x: this.x - step }, ArrowRight: { x: this.x + step }, ArrowUp: { y: this.y - step }, ArrowDown: { y: this.y + step },
        "+": { zoom: this.zoom * 1.5 }, "=": { zoom: this.zoom * 1.5 }, "-": { zoom: this.zoom / 1.5 }, 0: { zoom: 1 } };
      if (moves[event.key]) { event.preventDefault(); this.change(moves[event.key]); }
    });
  }

  /** Draws `image` on the canvas after each change. Enlarged pixels stay visible. */
  show(canvas, image) {
    const draw = () => {
      const ratio = devicePixelRatio || 1;
      const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
      if (!width || !height) return;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const context = canvas.getContext("2d");
      const scale = Math.min(width / image.width, height / image.height) * this.zoom;
      context.clearRect(0, 0, width, height);
      context.imageSmoothingEnabled = scale < 2;
      context.imageSmoothingQuality = "high";
      context.drawImage(image, width / 2 - this.x * image.width * scale, height / 2 - this.y * image.height * scale, image.width * scale, image.height * scale);
    };
    this.drawFunctions.add(draw);
    new ResizeObserver(draw).observe(canvas);
  }

  zoomButtons() {
    const button = (text, label, change) => h("button", { type: "button", "aria-label": label, onclick: () => this.change(change()) }, text);
    return h("div", { class: "row" },
      button("−", "Zoom out", () => ({ zoom: this.zoom / 1.5 })), button("+", "Zoom in", () => ({ zoom: this.zoom * 1.5 })), button("Fit", "Fit the whole image", () => ({ zoom: 1 })),
      h("span", { class: "hint" }, "or wheel, pinch, drag, arrow keys"));
  }
}

export function pane(viewport, title, image, hint) {
  const canvas = h("canvas", {});
  const box = h("div", { class: "pane", tabindex: 0, role: "img", "aria-label": `${title}${hint ? `, ${hint}` : ""}` }, canvas);
  viewport.show(canvas, image);
  viewport.bindControls(box);
  return h("figure", {}, h("figcaption", {}, title, hint && h("span", { class: "hint" }, hint)), box);
}

/** Two versions of an image, one over the other, with a movable divider. */
export function beforeAfter(viewport, before, after, [left, right]) {
  const [under, over] = [h("canvas", {}), h("canvas", {})];
  const handle = h("div", { class: "handle" });
  const box = h("div", { class: "slider", tabindex: 0, role: "img", "aria-label": `${left} and ${right}, one over the other` },
    under, over, handle, h("span", { class: "tag left" }, left), h("span", { class: "tag right" }, right));
  const range = h("input", { type: "range", class: "slider-range", min: 0, max: 100, step: 0.5, value: "50", "aria-label": `Divider between ${left} and ${right}`,
    oninput: () => moveDivider(Number(range.value)) });
  const moveDivider = (percent) => {
    over.style.clipPath = `inset(0 0 0 ${percent}%)`;
    handle.style.left = `${percent}%`;
  };
  const ratio = after.width / after.height;
  box.style.aspectRatio = ratio;
  moveDivider(50);
  viewport.show(under, before);
  viewport.show(over, after);
  viewport.bindControls(box);
  const comparison = h("div", { class: "compare" }, box, range);
  comparison.style.width = `min(100%, ${75 * ratio}vh)`;
  return comparison;
}
