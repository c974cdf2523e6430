// Saves a report as one file: self-contained HTML or a picture.

import { toUrl } from "../api.js";

const STYLES = ["base", "components", "figures"];
// An SVG image cannot see the page's style sheets, so these properties are copied into it.
const SVG_PROPERTIES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-family", "text-anchor"];

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const escapeHtml = (text) => text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

/** Clones an element and replaces canvases by images, because markup does not hold a canvas's pixels. */
function cloneWithImages(element) {
  const copy = element.cloneNode(true);
  const originals = element.querySelectorAll("canvas");
  copy.querySelectorAll("canvas").forEach((canvas, index) => {
    const image = document.createElement("img");
    image.src = originals[index].toDataURL("image/png");
    image.alt = canvas.getAttribute("aria-label") ?? "";
    canvas.replaceWith(image);
  });
  return copy;
}

export async function saveHtml(element, title, name) {
  const css = await Promise.all(STYLES.map(async (style) => (await fetch(toUrl(`/page/style/${style}.css`))).text()));
  const extra = ".kernels img { display: block; width: 100%; image-rendering: pixelated; border-radius: 5px; }";
  const html = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title><style>${css.join("\n")}${extra}</style></head>
<body><main><h1>${escapeHtml(title)}</h1>${cloneWithImages(element).outerHTML}</main></body></html>`;
  save(new Blob([html], { type: "text/html" }), `${name}.html`);
}

/** Renders an SVG chart as an image, with its styles inlined. */
async function renderChart(chart) {
  const copy = chart.cloneNode(true);
  const originals = [chart, ...chart.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((part, index) => {
    const style = getComputedStyle(originals[index]);
    for (const property of SVG_PROPERTIES) part.setAttribute(property, style.getPropertyValue(property));
  });
  const [, , width, height] = chart.getAttribute("viewBox").split(" ").map(Number);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", 2 * width);
  copy.setAttribute("height", 2 * height);
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await image.decode();
  return { image, width, height };
}

/** Splits text into lines that are at most `width` pixels wide. */
function wrapText(context, text, width) {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (context.measureText(longer).width > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

const WIDTH = 1080, MARGIN = 40, COLUMN = 320, GUTTER = 20;

/** Draws the report's text, kernels and charts below each other and saves them as a picture. */
export async function savePng(element, title, name) {
  const style = getComputedStyle(document.body);
  const [ink, paper] = [style.color, style.backgroundColor];
  const canvas = document.createElement("canvas");
  const charts = await Promise.all([...element.querySelectorAll("svg.chart")].map(async (chart) => ({
    ...(await renderChart(chart)), caption: chart.closest("figure").querySelector("figcaption").firstChild.textContent })));
  const facts = [...element.querySelectorAll(".facts > div")].map((fact) => [...fact.children].slice(0, 2).map((part) => part.textContent));
  const notices = [...element.querySelectorAll(".notice")].map((notice) => notice.textContent);
  const kernels = [...element.querySelectorAll(".kernels canvas")];

  // The first pass only measures the height.
  const draw = () => {
    const context = canvas.getContext("2d");
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.setTransform(2, 0, 0, 2, 0, 0);
    context.fillStyle = ink;
    let y = MARGIN;
    const write = (text, size, x = MARGIN, family = "system-ui, sans-serif", width = WIDTH - 2 * MARGIN) => {
      context.font = `${size}px ${family}`;
      for (const line of wrapText(context, text, width)) { y += size * 1.35; context.fillText(line, x, y); }
    };
    write(title, 28, MARGIN, "Georgia, serif");
    y += 10;
    const factsTop = y;
    facts.forEach(([label, value], index) => {
      const column = (WIDTH - 2 * MARGIN) / facts.length;
      y = factsTop;
      write(label, 13, MARGIN + index * column, undefined, column);
      write(value, 20, MARGIN + index * column, undefined, column);
    });
    y += 16;
    for (const notice of notices) { write(notice, 14); y += 4; }
    y += 18;
    const side = (WIDTH - 2 * MARGIN) / 12;
    context.imageSmoothingEnabled = false;
    kernels.forEach((kernel, index) => context.drawImage(kernel, MARGIN + (index % 12) * side, y + Math.floor(index / 12) * side, side - 4, side - 4));
    y += Math.ceil(kernels.length / 12) * side + 14;
    context.imageSmoothingEnabled = true;
    for (let first = 0; first < charts.length; first += 3) {
      const row = charts.slice(first, first + 3);
      const rowTop = y;
      row.forEach(({ image, width, height, caption }, index) => {
        const x = MARGIN + index * (COLUMN + GUTTER);
        y = rowTop;
        write(caption, 14, x, undefined, COLUMN);
        context.drawImage(image, x, y + 8, COLUMN, (COLUMN * height) / width);
      });
      y = rowTop + 40 + Math.max(...row.map(({ width, height }) => (COLUMN * height) / width));
    }
    return y + MARGIN;
  };
  canvas.width = 2 * WIDTH;
  canvas.height = 10;
  canvas.height = Math.ceil(2 * draw());
  draw();
  save(await new Promise((resolve) => canvas.toBlob(resolve, "image/png")), `${name}.png`);
}
