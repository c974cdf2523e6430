// Kernels and noise of a degradation, from its gallery.

import { h } from "/page/dom.js";
import { columnChart, dotChart, lineChart, matrixChart } from "/page/parts/charts.js";
import { figure } from "/page/words.js";

// From dark to light through verdigris, as [r, g, b]; weak taps are lifted so that tails can be seen.
const RAMP = [[13, 22, 20], [25, 78, 68], [75, 160, 140], [186, 222, 205], [255, 250, 236]];
const LIFT = 0.6;

function colour(value) {
  const at = value ** LIFT * (RAMP.length - 1);
  const low = Math.min(RAMP.length - 2, Math.floor(at));
  return RAMP[low].map((from, channel) => from + (RAMP[low + 1][channel] - from) * (at - low));
}
const COLOURS = Array.from({ length: 256 }, (_, value) => colour(value / 255));

/** A kernel as a canvas; `taps` are 0 to 255, row by row. */
export function kernelCanvas(taps, size, label) {
  const canvas = h("canvas", { width: size, height: size, role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  taps.forEach((tap, index) => image.data.set([...COLOURS[tap], 255], 4 * index));
  context.putImageData(image, 0, 0);
  return canvas;
}

export function kernelGallery(gallery) {
  return h("ul", { class: "kernels" }, gallery.kernels.map((kernel, index) => {
    const taps = Uint8Array.from(atob(kernel.taps), (letter) => letter.charCodeAt(0));
    const { major, minor, angle } = gallery.widths[index];
    return h("li", {}, kernelCanvas(taps, gallery.kernel_size, `Kernel: ${figure(major, 2)} by ${figure(minor, 2)} pixels at ${Math.round(angle)}°`));
  }));
}

export function widthCharts({ widths, transfer, scale, figures }) {
  const widest = Math.max(1, ...widths.map((width) => width.major)) * 1.1;
  return [
    dotChart({ title: "Widths", hint: "each kernel's standard deviations, in pixels", xLabel: "major axis", yLabel: "minor axis",
      points: widths.map(({ major, minor }) => [major, minor]), xs: [0, widest], ys: [0, widest] }),
    dotChart({ title: "Widths against orientation", hint: `${figure(figures.elongation, 2)} times as long as wide on average`,
      xLabel: "direction of the major axis, degrees", yLabel: "major axis, pixels",
      points: widths.map(({ major, angle }) => [angle, major]), xs: [0, 180], ys: [0, widest] }),
    lineChart({ title: "Mean transfer function", hint: "what kernels leave of each frequency, with 5 to 95 % of them; dashed: the finest that the small image can hold",
      xLabel: "cycles a pixel", yLabel: "what is left", lines: [transfer.map((each) => [each.frequency, each.mean])],
      band: transfer.map((each) => [each.frequency, each.p5, each.p95]), mark: 0.5 / scale, y0: 0 }),
  ];
}

export function noiseCharts(gallery) {
  const { noise_from: from, noise_step: step, noise_shares: shares, noise } = gallery;
  const bright = noise.by_brightness;
  const spread = Math.sqrt(shares.reduce((sum, share, index) => sum + share * (from + step * (index + 0.5)) ** 2, 0));
  const normal = shares.map((_, index) => from + step * (index + 0.5)).map((x) => [x, (step / (spread * Math.sqrt(2 * Math.PI))) * Math.exp(-0.5 * (x / spread) ** 2)]);
  return [
    bright.length > 1 && lineChart({ title: "Noise against brightness", hint: "its standard deviation, in 8-bit levels", xLabel: "brightness", yLabel: "levels",
      lines: [bright.map((each) => [each.brightness, each.level])], y0: 0 }),
    spread > 0 && columnChart({ title: "Noise, histogram", hint: "copper: a normal distribution as wide", xLabel: "8-bit levels", yLabel: "share", shares, from, step, line: normal,
      said: `standard deviation ${figure(spread, 2)} levels` }),
    matrixChart({ title: "Noise, correlation", hint: "with itself, moved by up to 3 pixels; the middle is 1", values: gallery.noise_correlation,
      said: `${figure(noise.right, 2)} to the right, ${figure(noise.below, 2)} below` }),
  ].filter(Boolean);
}

/** What stands between backticks is code. */
const withCode = (text) => text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

export function alarmList(alarms) {
  return alarms.length > 0 && h("div", { role: "status" }, h("ul", { class: "notices" }, alarms.map((alarm) =>
    h("li", { class: `notice ${alarm.severity}` }, h("strong", {}, alarm.severity === "alarm" ? "Alarm: " : "Warning: "), withCode(alarm.message)))));
}
