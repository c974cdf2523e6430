// The report of a model: what it makes, how near that comes to the real photos, and what to do about what is wrong.

import { bytes, get } from "/page/api.js";
import { complain, h, replace } from "/page/dom.js";
import { saveHtml, savePng } from "/page/parts/export.js";
import { lineChart } from "/page/parts/charts.js";
import { alarmList, kernelGallery, noiseCharts, widthCharts } from "/page/parts/gallery.js";
import { patchGame } from "/page/parts/patches.js";
import { count, duration, figure, percent, when } from "/page/words.js";

const READINGS = {
  major: ["Width, major axis", "pixels"], minor: ["Width, minor axis", "pixels"],
  luma_coarse: ["Noise in brightness, coarse", "levels"], luma_fine: ["Noise in brightness, fine", "levels"],
  colour_coarse: ["Noise in colour, coarse", "levels"], colour_fine: ["Noise in colour, fine", "levels"],
  in_shade: ["Noise in the shade", "levels"], in_light: ["Noise in the light", "levels"],
};

export async function show(main, { id, signal }) {
  const model = await get(`/models/${id}`, signal);
  const dataset = await get(`/datasets/${model.dataset}`, signal);
  const optional = (link) => (link ? get(link, signal).catch((error) => { if (error.name === "AbortError") throw error; return null; }) : null);
  const [report, gallery] = await Promise.all([optional(model.links.report), optional(model.links["gallery.json"])]);
  const title = `Model of ${when(model.created)}`;
  const body = h("article", { class: "report stack" },
    h("p", { class: "quiet" }, `${dataset.name} · ×${model.scale} · ${model.preset} · ${count(model.steps, "step")} in ${duration(model.seconds)}`),
    report ? verdict(report) : h("p", { class: "notice" }, "This model has no report. Train again to get one."),
    gallery && h("section", { class: "card" }, h("h2", {}, "Kernels"), kernelGallery(gallery), h("div", { class: "charts" }, widthCharts(gallery))),
    gallery && h("section", { class: "card" }, h("h2", {}, "Noise"), h("div", { class: "charts" }, noiseCharts(gallery))),
    report && comparison(report),
    history(model));
  const game = patchGame();
  const save = (how) => () => how(body, `${dataset.name}: ${title}`, `patina-report-${model.id}`).catch(complain);
  replace(main,
    h("div", { class: "head" },
      h("div", {},
        h("p", { class: "crumb" }, h("a", { href: "#/datasets" }, "Datasets"), " · ", h("a", { href: `#/datasets/${dataset.id}` }, dataset.name)),
        h("h1", {}, title)),
      h("div", { class: "row" },
        h("a", { class: "button first", href: `#/try?model=${model.id}` }, "Try it"),
        h("button", { type: "button", onclick: save(saveHtml) }, "Save as HTML"),
        h("button", { type: "button", onclick: save(savePng) }, "Save as PNG"))),
    body,
    gallery && h("section", { class: "card" }, h("h2", {}, "Which are real?"), game.element),
    h("section", { class: "card" }, h("h2", {}, "Files"), h("ul", {}, ["degrader.safetensors", "sr.safetensors", "report.json"].filter((name) => model.links[name]).map((name) =>
      h("li", {}, h("a", { href: model.links[name], download: true }, name))))));
  if (gallery) await game.set(gallery, await bytes(model.links["patches.png"], signal));
  return title;
}

function verdict(report) {
  const test = report.two_sample;
  return h("section", { class: "card" }, h("h2", {}, "How good it is"),
    h("dl", { class: "facts" },
      fact("Score", figure(report.score, 2), "0 is perfect; compare models of the same photos"),
      fact("Told apart", test ? `${percent(test.accuracy)} ± ${percent(test.uncertainty)}` : "–", "how often a classifier tells made photos from real ones; 50 % is perfect"),
      fact("Blur", `${figure(report.kernels.major.mean, 2)} × ${figure(report.kernels.minor.mean, 2)} px`, "mean width along and across"),
      fact("Noise", `${figure(report.noise.level.mean, 2)} levels`, "of 255, standard deviation"),
      fact("Diversity", figure(report.kernels.diversity, 2), "of kernels: 0 all the same, 1 nothing shared")),
    report.alarms.length ? alarmList(report.alarms) : h("p", { class: "notice" }, "Nothing is wrong that could be found."));
}

const fact = (name, value, hint) => h("div", {}, h("dt", {}, name), h("dd", {}, value), h("dd", { class: "hint" }, hint));

function comparison(report) {
  const rows = Object.entries(READINGS).map(([name, [said, unit]]) => {
    const seen = report.readings[name];
    return h("tr", {}, h("th", { scope: "row" }, said), ...[[seen.real_mean, seen.real_std], [seen.made_mean, seen.made_std]].map(([mean, std]) =>
      h("td", { class: "number" }, `${figure(mean, 2)} ± ${figure(std, 2)}`)), h("td", { class: "number" }, figure(seen.distance, 2)), h("td", {}, unit));
  });
  return h("section", { class: "card" }, h("h2", {}, "Real and made photos, as they look"),
    h("p", { class: "quiet" }, "Read off photos of either kind by the same reader: to be compared with each other, not to be believed."),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Readings" }, h("table", {},
      h("thead", {}, h("tr", {}, ["What is read", "real", "made", "apart by", "in"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows))));
}

function history(model) {
  const names = { match: "Matching", edsr_l1: "Super-resolution", score: "Score", discriminator: "Discriminator" };
  const charts = Object.entries(names).map(([name, title]) => {
    const line = model.history.filter((point) => name in point).map((point) => [point.step, point[name]]);
    return line.length > 1 && lineChart({ title, xLabel: "step", lines: [line], y0: Math.min(0, ...line.map(([, y]) => y)) });
  }).filter(Boolean);
  return charts.length > 0 && h("section", { class: "card" }, h("h2", {}, "How it was learned"), h("div", { class: "charts" }, charts));
}
