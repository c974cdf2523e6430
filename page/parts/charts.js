// Small drawings of figures, as SVG. Each is a picture with a name for those who do not see it.

import { h, svg } from "/page/dom.js";
import { duration, figure } from "/page/words.js";

const W = 320, H = 200, LEFT = 46, RIGHT = 10, TOP = 20, BOTTOM = 36;
const ROUND_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];

/** Round numbers from low to high, about so many. */
function ticks(low, high, about, round) {
  const raw = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = round?.find((each) => each >= raw) ?? [1, 2, 2.5, 5, 10].map((times) => times * power).find((each) => each >= raw);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-6; at += step) found.push(Math.abs(at) < step / 1e6 ? 0 : at);
  return found;
}

function frame({ title, hint, said, xs, ys, x = figure, y = figure, xLabel, yLabel }, draw) {
  const [x0, x1] = xs[0] === xs[1] ? [xs[0], xs[0] + 1] : xs;
  const [y0, y1] = ys[0] === ys[1] ? [ys[0], ys[0] + 1] : ys;
  const px = (value) => LEFT + ((value - x0) / (x1 - x0)) * (W - LEFT - RIGHT);
  const py = (value) => H - BOTTOM - ((value - y0) / (y1 - y0)) * (H - TOP - BOTTOM);
  const drawing = svg("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${said}` },
    ticks(y0, y1, 4).map((at) => [
      svg("line", { class: "axis", x1: LEFT, x2: W - RIGHT, y1: py(at), y2: py(at) }),
      svg("text", { x: LEFT - 6, y: py(at) + 4, "text-anchor": "end" }, y(at))]),
    ticks(x0, x1, 4, x === duration ? ROUND_SECONDS : null).map((at) =>
      svg("text", { x: Math.min(px(at), W - RIGHT - 8), y: H - BOTTOM + 15, "text-anchor": "middle" }, x(at))),
    xLabel && svg("text", { x: W - RIGHT, y: H - 3, "text-anchor": "end" }, xLabel),
    yLabel && svg("text", { x: 2, y: 10 }, yLabel),
    draw(px, py));
  return h("figure", {}, h("figcaption", {}, title, hint && h("span", { class: "hint" }, hint)), drawing);
}

const range = (values, around = []) => {
  const all = [...values, ...around];
  return [Math.min(...all), Math.max(...all)];
};
const path = (points, px, py) => points.map(([x, y], index) => `${index ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");

/** `lines` are arrays of [x, y]; `band` is [x, low, high] drawn behind; `mark` a vertical line at x. */
export function lineChart({ lines, band = [], mark, xs, y0, ...options }) {
  const points = lines.flat();
  const last = lines[0].at(-1);
  const y = range(points.map((point) => point[1]), [...band.flatMap((each) => each.slice(1)), ...(y0 === undefined ? [] : [y0])]);
  const said = last ? `${figure(last[1])} at the end, from ${figure(Math.min(...lines[0].map((point) => point[1])))} to ${figure(Math.max(...lines[0].map((point) => point[1])))}` : "nothing yet";
  return frame({ ...options, said, xs: xs ?? range(points.map((point) => point[0])), ys: y }, (px, py) => [
    band.length > 0 && svg("path", { class: "area", d: `${path(band.map(([x, low]) => [x, low]), px, py)}${path([...band].reverse().map(([x, , high]) => [x, high]), px, py).replace("M", "L")}Z` }),
    mark !== undefined && svg("line", { class: "line mark", x1: px(mark), x2: px(mark), y1: TOP, y2: H - BOTTOM }),
    lines.map((line, index) => svg("path", { class: `line ${index ? "second" : ""}`, d: path(line, px, py) })),
    lines.filter((line) => line.length === 1).map(([[x, at]]) => svg("circle", { class: "dot", cx: px(x), cy: py(at), r: 3 }))].filter(Boolean));
}

export function dotChart({ points, xs, ys, ...options }) {
  const said = `${points.length} points`;
  return frame({ ...options, said, xs: xs ?? range(points.map(([x]) => x)), ys: ys ?? range(points.map(([, y]) => y)) }, (px, py) =>
    points.map(([x, y]) => svg("circle", { class: "dot", cx: px(x).toFixed(1), cy: py(y).toFixed(1), r: 3 })));
}

/** `shares` are the heights of columns that begin at `from`, `step` wide; `line` is drawn over them. */
export function columnChart({ shares, from, step, line, ...options }) {
  const most = Math.max(...shares, ...(line ?? []).map(([, y]) => y));
  return frame({ ...options, xs: [from, from + step * shares.length], ys: [0, most] }, (px, py) => [
    shares.map((share, index) => svg("rect", {
      class: "column", x: px(from + step * index) + 0.3, width: Math.max(0.5, px(step) - px(0) - 0.6), y: py(share), height: py(0) - py(share) })),
    line && svg("path", { class: "line second", d: path(line, px, py) })].filter(Boolean));
}

/** Values from −1 to 1 in a square. */
export function matrixChart({ values, title, hint, said }) {
  const side = 24, count = values.length;
  return h("figure", {}, h("figcaption", {}, title, h("span", { class: "hint" }, hint)),
    svg("svg", { class: "chart", viewBox: `-76 0 ${W} ${side * count + 4}`, role: "img", "aria-label": `${title}: ${said}` },
      values.flatMap((row, down) => row.map((value, right) => svg("rect", {
        class: `cell ${value < 0 ? "below" : ""}`, x: right * side, y: down * side, width: side, height: side,
        "fill-opacity": (0.04 + 0.96 * Math.min(1, Math.abs(value)) ** 0.7).toFixed(3) }, svg("title", {}, figure(value, 2)))))));
}
