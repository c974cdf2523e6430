// A job in a list: what it is, how far it is; one line and a bar.

import { h } from "/page/dom.js";
import { isFinal, KINDS, progressOf, when } from "/page/words.js";

export function progressBar(label) {
  const fill = h("span", {});
  const element = h("div", { class: "bar", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  return {
    element,
    update: (job) => {
      const { done, total } = job.progress;
      const share = job.status === "succeeded" ? 1 : total ? Math.min(1, done / total) : 0;
      fill.style.width = `${100 * share}%`;
      element.className = `bar ${job.status}`;
      element.setAttribute("aria-valuenow", Math.round(100 * share));
    },
  };
}

export function statusPill() {
  const element = h("span", { class: "pill" });
  return { element, update: (job) => { element.textContent = job.status; element.className = `pill ${job.status}`; } };
}

/** `names` are those of datasets by id. */
export function jobRow(job, names) {
  const [pill, bar] = [statusPill(), progressBar(KINDS[job.kind])];
  const how = h("span", { class: "small quiet number" });
  const element = h("a", { class: "jobrow", href: `#/jobs/${job.id}` },
    h("div", { class: "line" },
      h("strong", {}, KINDS[job.kind]), h("span", { class: "what quiet" }, names[job.dataset] ?? ""), pill.element),
    bar.element,
    h("div", { class: "line small" }, how, h("span", { class: "quiet" }, when(job.created))));
  const update = (now) => {
    pill.update(now);
    bar.update(now);
    how.textContent = isFinal(now) && now.error ? now.error.message : progressOf(now);
  };
  update(job);
  return { element, update };
}
