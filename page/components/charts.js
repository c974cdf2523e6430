// Small SVG charts. Each has a text alternative.

import { h, svg } from "../dom.js";
import { formatDuration, formatNumber } from "../format.js";

const W = 320, H = 200, LEFT = 46, RIGHT = 10, TOP = 20, BOTTOM = 36;
const ROUND_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];

/** Returns about `count` round numbers from low to high. */
function ticks(low, high, count, roundSteps) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = roundSteps?.find((round) => round >= raw) ?? [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((round) => round >= raw);
  const values = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) values.push(Math.abs(value) < step / 1e6 ? 0 : value);
  return values;
}

function frame({ title, hint, summary, xs, ys, formatX = formatNumber, formatY = formatNumber, xLabel, yLabel }, draw) {
  const [x0, x1] = xs[0] === xs[1] ? [xs[0], xs[0] + 1] : xs;
  const [y0, y1] = ys[0] === ys[1] ? [ys[0], ys[0] + 1] : ys;
  const px = (value) => LEFT + ((value - x0) / (x1 - x0)) * (W - LEFT - RIGHT);
  const py = (value) => H - BOTTOM - ((value - y0) / (y1 - y0)) * (H - TOP - BOTTOM);
  const drawing = svg("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${summary}` },
    ticks(y0, y1, 4).map((value) => [
      svg("line", { class: "axis", x1: LEFT, x2: W - RIGHT, y1: py(value), y2: py(value) }),
      svg("text", { x: LEFT - 6, y: py(value) + 4, "text-anchor": "end" }, formatY(value))]),
    ticks(x0, x1, 4, formatX === formatDuration ? ROUND_SECONDS : null).map((value) =>
      svg("text", { x: Math.min(px(value), W - RIGHT - 8), y: H - BOTTOM + 15, "text-anchor": "middle" }, formatX(value))),
    xLabel && svg("text", { x: W - RIGHT, y: H - 3, "text-anchor": "end" }, xLabel),
    yLabel && svg("text", { x: 2, y: 10 }, yLabel),
    draw(px, py));
  return h("figure", {}, h("figcaption", {}, title, hint && h("span", { class: "hint" }, hint)), drawing);
}

const range = (values, include = []) => {
  const all = [...values, ...include];
  return [Math.min(...all), Math.max(...all)];
};
const path = (points, px, py) => points.map(([x, y], index) => `${index ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");

/** `lines`: arrays of [x, y]. `band`: [x, low, high], drawn behind. `mark`: x of a vertical line. `y0`: a y to include. */
export function lineChart({ lines, band = [], mark, xs, y0, ...options }) {
  const points = lines.flat();
  const last = lines[0].at(-1);
  const ys = range(points.map((point) => point[1]), [...band.flatMap((point) => point.slice(1)), ...(y0 === undefined ? [] : [y0])]);
  const values = lines[0].map((point) => point[1]);
  const summary = last ? `${formatNumber(last[1])} at the end, from ${formatNumber(Math.min(...values))} to ${formatNumber(Math.max(...values))}` : "nothing yet";
  return frame({ ...options, summary, xs: xs ?? range(points.map((point) => point[0])), ys }, (px, py) => [
    band.length > 0 && svg("path", { class: "area", d: `${path(band.map(([x, low]) => [x, low]), px, py)}${path([...band].reverse().map(([x, , high]) => [x, high]), px, py).replace("M", "L")}Z` }),
    mark !== undefined && svg("line", { class: "line mark", x1: px(mark), x2: px(mark), y1: TOP, y2: H - BOTTOM }),
    lines.map((line, index) => svg("path", { class: `line ${index ? "second" : ""}`, d: path(line, px, py) })),
    lines.filter((line) => line.length === 1).map(([[x, y]]) => svg("circle", { class: "dot", cx: px(x), cy: py(y), r: 3 }))].filter(Boolean));
}

export function scatterChart({ points, xs, ys, ...options }) {
  const summary = `${points.length} points`;
  return frame({ ...options, summary, xs: xs ?? range(points.map(([x]) => x)), ys: ys ?? range(points.map(([, y]) => y)) }, (px, py) =>
    points.map(([x, y]) => svg("circle", { class: "dot", cx: px(x).toFixed(1), cy: py(y).toFixed(1), r: 3 })));
}

/** `heights`: of bins that start at `start`, each `binWidth` wide. `line`: [x, y], drawn over them. */
export function histogramChart({ heights, start, binWidth, line, ...options }) {
  const highest = Math.max(...heights, ...(line ?? []).map(([, y]) => y));
  return frame({ ...options, xs: [start, start + binWidth * heights.length], ys: [0, highest] }, (px, py) => [
    heights.map((height, index) => svg("rect", {
      class: "column", x: px(start + binWidth * index) + 0.3, width: Math.max(0.5, px(binWidth) - px(0) - 0.6), y: py(height), height: py(0) - py(height) })),
    line && svg("path", { class: "line second", d: path(line, px, py) })].filter(Boolean));
}

/** Values from −1 to 1 as a grid of squares. */
export function matrixChart({ values, title, hint, summary }) {
  const side = 24, rows = values.length;
  return h("figure", {}, h("figcaption", {}, title, h("span", { class: "hint" }, hint)),
    svg("svg", { class: "chart", viewBox: `-76 0 ${W} ${side * rows + 4}`, role: "img", "aria-label": `${title}: ${summary}` },
      values.flatMap((row, y) => row.map((value, x) => svg("rect", {
        class: `cell ${value < 0 ? "negative" : ""}`, x: x * side, y: y * side, width: side, height: side,
        "fill-opacity": (0.04 + 0.96 * Math.min(1, Math.abs(value)) ** 0.7).toFixed(3) }, svg("title", {}, formatNumber(value, 2)))))));
}
