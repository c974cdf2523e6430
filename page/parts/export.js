// Keeps a report as one file: HTML that needs nothing else, or a picture.

const STYLES = ["base", "parts", "figures"];
// What a drawing looks like comes from style sheets, which a picture of it does not have.
const DRAWN = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-family", "text-anchor"];

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const escaped = (text) => text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

/** Canvases become images, for a canvas's pixels are not part of its markup. */
function withImages(element) {
  const copy = element.cloneNode(true);
  const drawn = element.querySelectorAll("canvas");
  copy.querySelectorAll("canvas").forEach((canvas, index) => {
    const image = document.createElement("img");
    image.src = drawn[index].toDataURL("image/png");
    image.alt = canvas.getAttribute("aria-label") ?? "";
    canvas.replaceWith(image);
  });
  return copy;
}

export async function saveHtml(element, title, name) {
  const css = await Promise.all(STYLES.map(async (each) => (await fetch(`/page/style/${each}.css`)).text()));
  const extra = ".kernels img { display: block; width: 100%; image-rendering: pixelated; border-radius: 5px; }";
  const html = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(title)}</title><style>${css.join("\n")}${extra}</style></head>
<body><main><h1>${escaped(title)}</h1>${withImages(element).outerHTML}</main></body></html>`;
  save(new Blob([html], { type: "text/html" }), `${name}.html`);
}

/** A drawing as an image, with its look written into it. */
async function imageOf(drawing) {
  const copy = drawing.cloneNode(true);
  const originals = [drawing, ...drawing.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((part, index) => {
    const look = getComputedStyle(originals[index]);
    for (const property of DRAWN) part.setAttribute(property, look.getPropertyValue(property));
  });
  const [, , width, height] = drawing.getAttribute("viewBox").split(" ").map(Number);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", 2 * width);
  copy.setAttribute("height", 2 * height);
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await image.decode();
  return { image, width, height };
}

/** Lines of text no wider than that. */
function wrapped(context, text, width) {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (context.measureText(longer).width > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

const WIDTH = 1080, MARGIN = 40, COLUMN = 320, GUTTER = 20;

/** The report as a picture: its words, kernels and drawings, one below the other. */
export async function savePng(element, title, name) {
  const look = getComputedStyle(document.body);
  const [ink, paper] = [look.color, look.backgroundColor];
  const canvas = document.createElement("canvas");
  const drawings = await Promise.all([...element.querySelectorAll("svg.chart")].map(async (drawing) => ({
    ...(await imageOf(drawing)), caption: drawing.closest("figure").querySelector("figcaption").firstChild.textContent })));
  const facts = [...element.querySelectorAll(".facts > div")].map((each) => [...each.children].slice(0, 2).map((part) => part.textContent));
  const alarms = [...element.querySelectorAll(".notice")].map((each) => each.textContent);
  const kernels = [...element.querySelectorAll(".kernels canvas")];

  // Drawn twice: first to find out how high it becomes.
  const draw = () => {
    const context = canvas.getContext("2d");
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.setTransform(2, 0, 0, 2, 0, 0);
    context.fillStyle = ink;
    let y = MARGIN;
    const write = (text, size, x = MARGIN, family = "system-ui, sans-serif", width = WIDTH - 2 * MARGIN) => {
      context.font = `${size}px ${family}`;
      for (const line of wrapped(context, text, width)) { y += size * 1.35; context.fillText(line, x, y); }
    };
    write(title, 28, MARGIN, "Georgia, serif");
    y += 10;
    const top = y;
    facts.forEach(([what, value], index) => {
      const column = (WIDTH - 2 * MARGIN) / facts.length;
      y = top;
      write(what, 13, MARGIN + index * column, undefined, column);
      write(value, 20, MARGIN + index * column, undefined, column);
    });
    y += 16;
    for (const alarm of alarms) { write(alarm, 14); y += 4; }
    y += 18;
    const side = (WIDTH - 2 * MARGIN) / 12;
    context.imageSmoothingEnabled = false;
    kernels.forEach((kernel, index) => context.drawImage(kernel, MARGIN + (index % 12) * side, y + Math.floor(index / 12) * side, side - 4, side - 4));
    y += Math.ceil(kernels.length / 12) * side + 14;
    context.imageSmoothingEnabled = true;
    for (let first = 0; first < drawings.length; first += 3) {
      const some = drawings.slice(first, first + 3);
      const above = y;
      some.forEach(({ image, width, height, caption }, index) => {
        const x = MARGIN + index * (COLUMN + GUTTER);
        y = above;
        write(caption, 14, x, undefined, COLUMN);
        context.drawImage(image, x, y + 8, COLUMN, (COLUMN * height) / width);
      });
      y = above + 40 + Math.max(...some.map(({ width, height }) => (COLUMN * height) / width));
    }
    return y + MARGIN;
  };
  canvas.width = 2 * WIDTH;
  canvas.height = 10;
  canvas.height = Math.ceil(2 * draw());
  draw();
  save(await new Promise((resolve) => canvas.toBlob(resolve, "image/png")), `${name}.png`);
}
