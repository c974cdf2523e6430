// Kernels and noise of a degradation, from its gallery.json.

import { histogramChart, lineChart, matrixChart, scatterChart } from "../components/charts.js";
import { h } from "../dom.js";
import { formatNumber } from "../format.js";

// Dark to light through verdigris, as [r, g, b]. A power below 1 makes the faint tails visible.
const COLOR_STOPS = [[13, 22, 20], [25, 78, 68], [75, 160, 140], [186, 222, 205], [255, 250, 236]];
const POWER = 0.6;

function interpolateColor(value) {
  const position = value ** POWER * (COLOR_STOPS.length - 1);
  const low = Math.min(COLOR_STOPS.length - 2, Math.floor(position));
  return COLOR_STOPS[low].map((channel, index) => channel + (COLOR_STOPS[low + 1][index] - channel) * (position - low));
}
const COLORMAP = Array.from({ length: 256 }, (_, value) => interpolateColor(value / 255));

/** Draws a kernel on a canvas. `taps` are 0 to 255, row by row. */
export function kernelCanvas(taps, size, label) {
  const canvas = h("canvas", { width: size, height: size, role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  taps.forEach((tap, index) => image.data.set([...COLORMAP[tap], 255], 4 * index));
  context.putImageData(image, 0, 0);
  return canvas;
}

// Names in galleries and metrics that an earlier version stored: old -> new.
const RENAMED = {
  noise_from: "hist_start", noise_step: "bin_width", noise_shares: "noise_hist", figures: "kernel_metrics", level: "std",
  right: "corr_right", below: "corr_down", aim: "fit", plainness: "regularization", noise_levels: "noise_std",
};

/** Returns a stored gallery, or a stored point of metrics, with the current names. */
export function withCurrentNames(stored) {
  if (Array.isArray(stored)) return stored.map(withCurrentNames);
  if (stored === null || typeof stored !== "object") return stored;
  return Object.fromEntries(Object.entries(stored).map(([name, value]) => [RENAMED[name] ?? name, withCurrentNames(value)]));
}

export function kernelGallery(gallery) {
  return h("ul", { class: "kernels" }, gallery.kernels.map((kernel, index) => {
    const taps = Uint8Array.from(atob(kernel.taps), (letter) => letter.charCodeAt(0));
    const { major, minor, angle } = gallery.widths[index];
    return h("li", {}, kernelCanvas(taps, gallery.kernel_size, `Kernel: ${formatNumber(major, 2)} by ${formatNumber(minor, 2)} pixels at ${Math.round(angle)}°`));
  }));
}

export function kernelCharts({ widths, transfer, scale, kernel_metrics: metrics }) {
  const widest = Math.max(1, ...widths.map((width) => width.major)) * 1.1;
  return [
    scatterChart({ title: "Kernel sigmas", hint: "standard deviations of each kernel, in pixels", xLabel: "major axis", yLabel: "minor axis",
      points: widths.map(({ major, minor }) => [major, minor]), xs: [0, widest], ys: [0, widest] }),
    scatterChart({ title: "Kernel sigma and orientation", hint: `major / minor axis: ${formatNumber(metrics.elongation, 2)} on average`,
      xLabel: "angle of the major axis, degrees", yLabel: "major axis, pixels",
      points: widths.map(({ major, angle }) => [angle, major]), xs: [0, 180], ys: [0, widest] }),
    lineChart({ title: "Mean transfer function", hint: "gain at each frequency, with the 5th to 95th percentile; dashed: Nyquist frequency of the small image",
      xLabel: "cycles per pixel", yLabel: "gain", lines: [transfer.map((point) => [point.frequency, point.mean])],
      band: transfer.map((point) => [point.frequency, point.p5, point.p95]), mark: 0.5 / scale, y0: 0 }),
  ];
}

export function noiseCharts(gallery) {
  const { hist_start: start, bin_width: binWidth, noise_hist: heights, noise } = gallery;
  const curve = noise.by_brightness;
  const centers = heights.map((_, index) => start + binWidth * (index + 0.5));
  const std = Math.sqrt(heights.reduce((sum, height, index) => sum + height * centers[index] ** 2, 0));
  const normal = centers.map((x) => [x, (binWidth / (std * Math.sqrt(2 * Math.PI))) * Math.exp(-0.5 * (x / std) ** 2)]);
  return [
    curve.length > 1 && lineChart({ title: "Noise and brightness", hint: "standard deviation, in 8-bit levels", xLabel: "brightness", yLabel: "levels",
      lines: [curve.map((point) => [point.brightness, point.std])], y0: 0 }),
    std > 0 && histogramChart({ title: "Noise histogram", hint: "copper: normal distribution of the same width", xLabel: "8-bit levels", yLabel: "fraction", heights, start, binWidth, line: normal,
      summary: `standard deviation ${formatNumber(std, 2)} levels` }),
    matrixChart({ title: "Noise autocorrelation", hint: "for shifts of up to 3 pixels; 1 in the center", values: gallery.noise_correlation,
      summary: `${formatNumber(noise.corr_right, 2)} to the right, ${formatNumber(noise.corr_down, 2)} below` }),
  ].filter(Boolean);
}

/** Renders text between backticks as code. */
const renderCode = (text) => text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

export function alarmList(alarms) {
  return alarms.length > 0 && h("div", { role: "status" }, h("ul", { class: "notices" }, alarms.map((alarm) =>
    h("li", { class: `notice ${alarm.severity === "warning" ? "warning" : "error"}` }, h("strong", {}, alarm.severity === "warning" ? "Warning: " : "Error: "), renderCode(alarm.message)))));
}
