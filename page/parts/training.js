// A training while it runs: curves, alarms, what it makes by now.

import { bytes, get } from "/page/api.js";
import { h, replace } from "/page/dom.js";
import { lineChart } from "/page/parts/charts.js";
import { alarmList, kernelGallery, noiseCharts, widthCharts } from "/page/parts/gallery.js";
import { patchGame } from "/page/parts/patches.js";
import { duration, isFinal, whole } from "/page/words.js";

// What a training's figures are, in the order of its phases.
const CURVES = {
  aim: ["Aiming", "distance from what the estimator says of the real photos"],
  match: ["Matching", "how far made photos are from real ones"],
  score: ["Score", "the report's; 0 is perfect"],
  adversarial: ["Adversarial loss", "0.25 or less: made photos pass for real"],
  discriminator: ["Discriminator", "0.25 is a draw"],
  noise_levels: ["Noise", "8-bit levels"],
  plainness: ["Plainness", "what odd kernels and odd noise cost"],
  edsr_l1: ["Super-resolution", "mean error of the EDSR, 1 = full scale"],
};
const DRAW_EVERY_MS = 500;

export function trainingPart(job, signal) {
  let points = [];
  let drawn = null;
  const curves = h("div", { class: "charts" });
  const nothing = h("p", { class: "quiet" }, "The first figures come in a moment.");
  const looks = h("div", { class: "stack", hidden: true });
  const said = h("div", {});
  const draw = () => {
    drawn = null;
    nothing.hidden = points.length > 0;
    const names = Object.keys(CURVES).filter((name) => points.some((point) => name in point));
    replace(curves, names.map((name) => {
      const [title, hint] = CURVES[name];
      const line = points.filter((point) => name in point).map((point) => [point.seconds, point[name]]);
      return lineChart({ title, hint, lines: [line], x: duration, xs: [0, points.at(-1).seconds], y0: Math.min(0, ...line.map(([, y]) => y)) });
    }));
  };
  const drawSoon = () => (drawn ??= setTimeout(draw, DRAW_EVERY_MS));
  signal.addEventListener("abort", () => clearTimeout(drawn));

  let shown = 0;
  let latest = 0;
  let busy = false;
  const game = patchGame();
  const kernels = h("div", {});
  const widths = h("div", { class: "charts" });
  const step = h("p", { class: "quiet small" });
  replace(looks,
    h("section", { class: "card" }, h("h2", {}, "Kernels drawn now"), step, kernels, widths),
    h("section", { class: "card" }, h("h2", {}, "Which are real?"), game.element));
  const renew = async () => {
    if (busy || latest === shown) return;
    busy = true;
    try {
      const want = latest;
      const [gallery, image] = await Promise.all([
        get(`/jobs/${job.id}/preview/gallery.json`, signal), bytes(`/jobs/${job.id}/preview/patches.png`, signal)]);
      shown = want;
      looks.hidden = false;
      step.textContent = `After step ${whole(gallery.step)}.`;
      replace(kernels, kernelGallery(gallery));
      replace(widths, widthCharts(gallery), noiseCharts(gallery));
      replace(said, alarmList(gallery.alarms));
      await game.set(gallery, image);
    } catch (error) {
      if (error.name !== "AbortError") setTimeout(renew, 2000); // it was just being replaced
    } finally { busy = false; }
    if (latest !== shown && !signal.aborted) setTimeout(renew, 1000);
  };
  return {
    element: h("div", { class: "stack" }, said, h("section", { class: "card" }, h("h2", {}, "Curves"), nothing, curves), looks),
    job: (now) => { if (isFinal(now) && !points.length) nothing.textContent = "No figures were recorded."; },
    clear: () => { points = []; drawSoon(); },
    event: (kind, { data }) => {
      if (kind === "metrics") { points.push(data); drawSoon(); }
      if (kind === "preview") { latest = data.step; renew(); }
    },
  };
}
