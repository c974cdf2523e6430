// A job in a list: kind, status, progress.

import { h } from "../dom.js";
import { formatProgress, formatTime, isFinal, KIND_NAMES } from "../format.js";

export function progressBar(label) {
  const fill = h("span", {});
  const element = h("div", { class: "bar", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  return {
    element,
    update: (job) => {
      const { done, total } = job.progress;
      const fraction = job.status === "succeeded" ? 1 : total ? Math.min(1, done / total) : 0;
      fill.style.width = `${100 * fraction}%`;
      element.className = `bar ${job.status}`;
      element.setAttribute("aria-valuenow", Math.round(100 * fraction));
    },
  };
}

export function statusPill() {
  const element = h("span", { class: "pill" });
  return { element, update: (job) => { element.textContent = job.status; element.className = `pill ${job.status}`; } };
}

/** `datasetNames` maps ids to names. */
export function jobRow(job, datasetNames) {
  const [pill, bar] = [statusPill(), progressBar(KIND_NAMES[job.kind])];
  const detail = h("span", { class: "small muted number" });
  const element = h("a", { class: "jobrow", href: `#/jobs/${job.id}` },
    h("div", { class: "line" },
      h("strong", {}, KIND_NAMES[job.kind]), h("span", { class: "dataset muted" }, datasetNames[job.dataset] ?? ""), pill.element),
    bar.element,
    h("div", { class: "line small" }, detail, h("span", { class: "muted" }, formatTime(job.created))));
  const update = (current) => {
    pill.update(current);
    bar.update(current);
    detail.textContent = isFinal(current) && current.error ? current.error.message : formatProgress(current);
  };
  update(job);
  return { element, update };
}
