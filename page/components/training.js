// A running training: curves, warnings and samples of the current model.

import { getBytes, get } from "../api.js";
import { lineChart } from "../components/charts.js";
import { alarmList, kernelCharts, kernelGallery, noiseCharts, withCurrentNames } from "../components/gallery.js";
import { realOrFake } from "../components/realOrFake.js";
import { h, replace } from "../dom.js";
import { formatDuration, formatInteger, isFinal } from "../format.js";

// Title and hint of each metric, in the order of the training's phases.
const CURVES = {
  fit: ["Estimate fitting", "distance to the estimates for the real photos"],
  match: ["Distribution matching", "distance between generated and real photos"],
  score: ["Score", "of the report; lower is better"],
  adversarial: ["Adversarial loss", "0.25 or less: generated photos pass as real"],
  discriminator: ["Discriminator loss", "0.25: it cannot separate real from generated"],
  noise_std: ["Noise", "standard deviation in 8-bit levels"],
  regularization: ["Regularization", "penalty on unusual kernels and noise"],
  edsr_l1: ["Super-resolution", "L1 loss of the EDSR, 1 = full scale"],
};
const DRAW_INTERVAL_MS = 500;

export function trainingView(job, signal) {
  let points = [];
  let drawTimer = null;
  const curves = h("div", { class: "charts" });
  const placeholder = h("p", { class: "muted" }, "The first metrics arrive in a moment.");
  const preview = h("div", { class: "stack", hidden: true });
  const alarms = h("div", {});
  const draw = () => {
    drawTimer = null;
    placeholder.hidden = points.length > 0;
    const names = Object.keys(CURVES).filter((name) => points.some((point) => name in point));
    replace(curves, names.map((name) => {
      const [title, hint] = CURVES[name];
      const line = points.filter((point) => name in point).map((point) => [point.seconds, point[name]]);
      return lineChart({ title, hint, lines: [line], formatX: formatDuration, xs: [0, points.at(-1).seconds], y0: Math.min(0, ...line.map(([, y]) => y)) });
    }));
  };
  const scheduleDraw = () => (drawTimer ??= setTimeout(draw, DRAW_INTERVAL_MS));
  signal.addEventListener("abort", () => clearTimeout(drawTimer));

  let shownStep = 0;
  let latestStep = 0;
  let loading = false;
  const game = realOrFake();
  const kernels = h("div", {});
  const charts = h("div", { class: "charts" });
  const step = h("p", { class: "muted small" });
  replace(preview,
    h("section", { class: "card" }, h("h2", {}, "Current kernels"), step, kernels, charts),
    h("section", { class: "card" }, h("h2", {}, "Which are real?"), game.element));
  const loadPreview = async () => {
    if (loading || latestStep === shownStep) return;
    loading = true;
    try {
      const wantedStep = latestStep;
      const [stored, image] = await Promise.all([
        get(`/jobs/${job.id}/preview/gallery.json`, signal), getBytes(`/jobs/${job.id}/preview/patches.png`, signal)]);
      const gallery = withCurrentNames(stored);
      shownStep = wantedStep;
      preview.hidden = false;
      step.textContent = `After step ${formatInteger(gallery.step)}.`;
      replace(kernels, kernelGallery(gallery));
      replace(charts, kernelCharts(gallery), noiseCharts(gallery));
      replace(alarms, alarmList(gallery.alarms));
      await game.set(gallery, image);
    } catch (error) {
      if (error.name !== "AbortError") setTimeout(loadPreview, 2000); // the files were just being replaced
    } finally { loading = false; }
    if (latestStep !== shownStep && !signal.aborted) setTimeout(loadPreview, 1000);
  };
  return {
    element: h("div", { class: "stack" }, alarms, h("section", { class: "card" }, h("h2", {}, "Curves"), placeholder, curves), preview),
    update: (current) => { if (isFinal(current) && !points.length) placeholder.textContent = "No metrics were recorded."; },
    clear: () => { points = []; scheduleDraw(); },
    addEvent: (kind, { data }) => {
      if (kind === "metrics") { points.push(withCurrentNames(data)); scheduleDraw(); }
      if (kind === "preview") { latestStep = data.step; loadPreview(); }
    },
  };
}
