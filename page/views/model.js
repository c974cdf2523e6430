// The report of a model: quality, kernels, noise, comparison with real photos, and training history.

import { get, getBytes } from "../api.js";
import { lineChart } from "../components/charts.js";
import { saveHtml, savePng } from "../components/export.js";
import { alarmList, kernelCharts, kernelGallery, noiseCharts, withCurrentNames } from "../components/gallery.js";
import { realOrFake } from "../components/realOrFake.js";
import { h, replace, showError } from "../dom.js";
import { formatCount, formatDuration, formatNumber, formatPercent, formatTime } from "../format.js";

const STATISTICS = {
  major: ["Blur sigma, major axis", "pixels"], minor: ["Blur sigma, minor axis", "pixels"],
  luma_coarse: ["Luma noise, coarse", "levels"], luma_fine: ["Luma noise, fine", "levels"],
  color_coarse: ["Color noise, coarse", "levels"], color_fine: ["Color noise, fine", "levels"],
  dark: ["Noise in dark areas", "levels"], bright: ["Noise in bright areas", "levels"],
};
const HISTORY = { match: "Distribution matching", edsr_l1: "Super-resolution", score: "Score", discriminator: "Discriminator loss" };
const FILES = ["degrader.safetensors", "sr.safetensors", "report.json"];

export async function show(main, { id, signal }) {
  const model = await get(`/models/${id}`, signal);
  const dataset = await get(`/datasets/${model.dataset}`, signal);
  const getOptional = (link) => (link ? get(link, signal).catch((error) => { if (error.name === "AbortError") throw error; return null; }) : null);
  const [report, storedGallery] = await Promise.all([getOptional(model.links.report), getOptional(model.links["gallery.json"])]);
  const gallery = withCurrentNames(storedGallery);
  const title = `Model of ${formatTime(model.created)}`;
  const body = h("article", { class: "report stack" },
    h("p", { class: "muted" }, `${dataset.name} · ×${model.scale} · ${model.preset} · ${formatCount(model.steps, "step")} in ${formatDuration(model.seconds)}`),
    report ? qualityCard(report) : h("p", { class: "notice" }, "This model has no report. Train again to get one."),
    gallery && h("section", { class: "card" }, h("h2", {}, "Kernels"), kernelGallery(gallery), h("div", { class: "charts" }, kernelCharts(gallery))),
    gallery && h("section", { class: "card" }, h("h2", {}, "Noise"), h("div", { class: "charts" }, noiseCharts(gallery))),
    report && comparisonCard(report),
    report && report.kinds && kindsCard(report.kinds),
    historyCard(model));
  const game = realOrFake();
  const save = (saveAs) => () => saveAs(body, `${dataset.name}: ${title}`, `patina-report-${model.id}`).catch(showError);
  replace(main,
    h("div", { class: "head" },
      h("div", {},
        h("p", { class: "crumb" }, h("a", { href: "#/datasets" }, "Datasets"), " · ", h("a", { href: `#/datasets/${dataset.id}` }, dataset.name)),
        h("h1", {}, title)),
      h("div", { class: "row" },
        h("a", { class: "button primary", href: `#/try?model=${model.id}` }, "Try it"),
        h("button", { type: "button", onclick: save(saveHtml) }, "Save as HTML"),
        h("button", { type: "button", onclick: save(savePng) }, "Save as PNG"))),
    body,
    gallery && h("section", { class: "card" }, h("h2", {}, "Which are real?"), game.element),
    h("section", { class: "card" }, h("h2", {}, "Files"), h("ul", {}, FILES.filter((name) => model.links[name]).map((name) =>
      h("li", {}, h("a", { href: model.links[name], download: true }, name))))));
  if (gallery) await game.set(gallery, await getBytes(model.links["patches.png"], signal));
  return title;
}

function qualityCard(report) {
  const test = report.two_sample;
  return h("section", { class: "card" }, h("h2", {}, "Quality"),
    h("dl", { class: "facts" },
      fact("Score", formatNumber(report.score, 2), "lower is better, among models of the same photos; a perfect one scores 0.1 to 0.3"),
      fact("Real-vs-generated accuracy", test ? `${formatPercent(test.accuracy)} ± ${formatPercent(test.uncertainty)}` : "–", "of a small classifier; 50 % is perfect"),
      report.overshoot && fact("Overshoot at edges", `${formatPercent(report.overshoot.real)} real, ${formatPercent(report.overshoot.generated)} generated`, "how much photos are sharpened; both should be equal"),
      fact("Blur", `${formatNumber(report.kernels.major.mean, 2)} × ${formatNumber(report.kernels.minor.mean, 2)} px`, "mean sigma, major × minor axis"),
      fact("Noise", `${formatNumber(report.noise.std.mean, 2)} levels`, "standard deviation, of 255"),
      fact("Diversity", formatNumber(report.kernels.diversity, 2), "of kernels: 0 identical, 1 nothing in common")),
    report.alarms.length ? alarmList(report.alarms) : h("p", { class: "notice" }, "No problems found."));
}

const fact = (name, value, hint) => h("div", {}, h("dt", {}, name), h("dd", {}, value), h("dd", { class: "hint" }, hint));

function comparisonCard(report) {
  const rows = Object.entries(STATISTICS).map(([name, [label, unit]]) => {
    const stat = report.predicted[name];
    const columns = [[stat.real_mean, stat.real_std], [stat.generated_mean, stat.generated_std]];
    return h("tr", {}, h("th", { scope: "row" }, label), ...columns.map(([mean, std]) =>
      h("td", { class: "number" }, `${formatNumber(mean, 2)} ± ${formatNumber(std, 2)}`)), h("td", { class: "number" }, formatNumber(stat.distance, 2)), h("td", {}, unit));
  });
  return h("section", { class: "card" }, h("h2", {}, "Real and generated photos"),
    h("p", { class: "muted" }, "A regressor predicts these statistics for both. Compare the columns; the absolute values are biased."),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Statistics" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Statistic", "real", "generated", "distance", "unit"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows))));
}

function kindsCard(kinds) {
  const rows = [["Blur", kinds.by_blur], ["Noise", kinds.by_noise]].filter(([, comparison]) => comparison).flatMap(([name, comparison]) =>
    [["real", comparison.real], ["generated", comparison.generated]].flatMap(([whose, found]) => found.map((kind, index) =>
      h("tr", {}, h("th", { scope: "row" }, index ? "" : `${name}, ${whose}`),
        ...[formatPercent(kind.share), formatNumber(kind.major, 2), formatNumber(kind.minor, 2), kind.noise === null ? "–" : formatNumber(kind.noise, 1)]
          .map((value) => h("td", { class: "number" }, value))))));
  const isMixture = [kinds.by_blur, kinds.by_noise].some((comparison) => comparison && comparison.real.length > 1);
  return h("section", { class: "card" }, h("h2", {}, "Kinds of photos"),
    h("p", { class: "muted" }, `The real photos are of ${isMixture ? "two kinds. The generated ones should be, too" : "one kind"}. What is real is estimated.`),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Kinds of photos" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Divided by", "share", "major, px", "minor, px", "noise, levels"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows))));
}

function historyCard(model) {
  const charts = Object.entries(HISTORY).map(([name, title]) => {
    const line = model.history.filter((point) => name in point).map((point) => [point.step, point[name]]);
    return line.length > 1 && lineChart({ title, xLabel: "step", lines: [line], y0: Math.min(0, ...line.map(([, y]) => y)) });
  }).filter(Boolean);
  return charts.length > 0 && h("section", { class: "card" }, h("h2", {}, "Training history"), h("div", { class: "charts" }, charts));
}
