// What is wrong with the photos of a dataset: a summary, and marks for their thumbnails.

import { get } from "../api.js";
import { h, replace, showError } from "../dom.js";
import { formatCount } from "../format.js";

const FIRST_PAUSE_MS = 1000, MAX_PAUSE_MS = 30_000, MAX_IDLE_POLLS = 5;
const CODES = {
  flat: "of one color", gray: "gray", black_bars: "with black bars", interlaced: "interlaced", enlarged: "enlarged", blurred: "blurred",
  noisy: "noisy", compressed: "compressed", real_and_clean: "both real and clean", duplicate: "repeated",
};
const ROLE_NAMES = { lr: ["real photo", "real photos"], hr: ["clean photo", "clean photos"] };

/**
 * Returns { element, reload(), findingsOf(image) }. New photos are checked soon after they arrived, so `reload` asks again
 * until all are. `onChange` is called when findings came.
 */
export function photoChecks(dataset, signal, onChange) {
  const element = h("div", { role: "status", class: "stack" });
  let byId = new Map(), timer = null;
  const load = async (pause, idlePolls, unchecked) => {
    const checks = await get(`/datasets/${dataset.id}/checks`, signal);
    byId = new Map(checks.photos.map((photo) => [photo.id, photo]));
    replace(element, ...summarize(checks));
    onChange();
    const idle = checks.unchecked === unchecked ? idlePolls + 1 : 0;
    clearTimeout(timer);
    // Very large photos stay unchecked until their training.
    if (checks.unchecked && idle < MAX_IDLE_POLLS) timer = setTimeout(() => load(Math.min(MAX_PAUSE_MS, 2 * pause), idle, checks.unchecked).catch(showError), pause);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  return {
    element,
    reload: () => load(FIRST_PAUSE_MS, 0, null).catch(showError),
    findingsOf: (image) => byId.get(image.id) ?? { left_out: false, findings: image.findings },
  };
}

function summarize({ left_out: leftOut, findings, mixtures, photos }) {
  const lines = Object.entries(ROLE_NAMES).map(([role, names]) => {
    const counts = Object.entries(findings[role]).map(([code, count]) => `${count} ${CODES[code] ?? code}`);
    if (!counts.length) return null;
    const out = leftOut[role] ? ` ${formatCount(leftOut[role], ...names)} will be left out of trainings.` : "";
    return h("p", {}, `${names[1][0].toUpperCase()}${names[1].slice(1)}: ${counts.join(", ")}.${out}`);
  }).filter(Boolean);
  lines.push(...mixtures.map((mixture) => h("p", {}, mixture.message)));
  if (!lines.length) return [];
  const list = photos.length > 0 && h("details", {}, h("summary", {}, "Which photos"),
    h("ul", { class: "rejected" }, photos.map((photo) => h("li", {}, h("strong", {}, photo.name), ` ${describe(photo)}`))));
  return [h("div", { class: "notice warning" }, lines, list)];
}

const describe = ({ findings }) => findings.map((finding) => finding.message).join(" ");

/** Returns the mark of a photo with findings, null for others. */
export function findingMark(photo) {
  if (!photo.findings.length) return null;
  const label = `${photo.left_out ? "Left out of trainings. " : ""}${describe(photo)}`;
  return h("span", { class: `mark ${photo.left_out ? "error" : "warning"}`, role: "img", title: label, "aria-label": label }, photo.left_out ? "×" : "!");
}
