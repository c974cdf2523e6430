// One job: progress, actions, results and log.

import { get, post } from "../api.js";
import { fileList } from "../components/fileList.js";
import { progressBar, statusPill } from "../components/jobRow.js";
import { trainingView } from "../components/training.js";
import { h, replace, showError } from "../dom.js";
import { subscribeJob } from "../events.js";
import { formatCount, formatDuration, formatInteger, formatNumber, formatProgress, isFinal, KIND_NAMES } from "../format.js";

const MAX_LOG_LINES = 2000;

export async function show(main, { id, signal }) {
  let job = await get(`/jobs/${id}`, signal);
  const dataset = job.dataset ? await get(`/datasets/${job.dataset}`, signal).catch((error) => { if (error.name === "AbortError") throw error; return null; }) : null;
  const [bar, pill] = [progressBar("Progress"), statusPill()];
  const facts = h("dl", { class: "facts" });
  const problem = h("div", {});
  const actions = h("div", { class: "row" });
  const training = job.kind === "train" ? trainingView(job, signal) : null;
  const results = training ? null : resultsTable(job, signal);
  const log = logView();

  const run = (action, then) => async (event) => {
    event.target.disabled = true;
    try { await then(await post(job.links[action])); } catch (error) { showError(error); event.target.disabled = false; }
  };
  let actionsKey = null;
  const update = (current) => {
    const statusChanged = job.status !== current.status;
    job = current;
    bar.update(job);
    pill.update(job);
    const { per_second: rate, eta_seconds: left, unit } = job.progress;
    const seconds = job.started && (new Date(job.finished ?? Date.now()) - new Date(job.started)) / 1000;
    replace(facts, [
      ["done", formatProgress({ ...job, status: "", counts: {} })],
      !isFinal(job) && ["rate", rate ? `${formatNumber(rate, 2)} ${unit} per second` : "–"],
      !isFinal(job) && ["time left", formatDuration(left)],
      ["duration", formatDuration(seconds || null)],
      job.kind !== "train" && ["results", `${formatInteger(job.counts.ok)} ok, ${formatInteger(job.counts.failed)} failed`],
    ].filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    replace(problem, job.error && h("p", { class: "notice error", role: "alert" }, job.error.message));
    const available = createActions(job);
    if (available.key !== actionsKey) { actionsKey = available.key; replace(actions, available.buttons); }
    training?.update(job);
    if (statusChanged) results?.reload();
  };

  replace(main,
    h("div", { class: "head" },
      h("div", {},
        h("p", { class: "crumb" }, h("a", { href: "#/jobs" }, "Jobs"), dataset && [" · ", h("a", { href: `#/datasets/${dataset.id}` }, dataset.name)]),
        h("h1", {}, KIND_NAMES[job.kind], " ", pill.element)),
      actions),
    h("section", { class: "card", "aria-label": "Progress" }, bar.element, facts, problem,
      fileList(formatCount(job.warnings.length, "warning"), job.warnings)),
    training?.element, results?.element, log.element);
  update(job);
  results?.reload();
  let unsubscribe = () => {};
  const subscribe = () => { unsubscribe(); unsubscribe = subscribeJob(id, { onJob: update, onEvent: (kind, event) => {
    if (kind === "log") log.add(event);
    training?.addEvent(kind, event);
  } }, signal); };
  subscribe();
  return KIND_NAMES[job.kind];

  function createActions({ kind, status, links, counts, model, ended_early: endedEarly }) {
    const isTraining = kind === "train";
    const restart = (next) => { update(next); log.clear(); training?.clear(); subscribe(); };
    const open = (next) => { location.hash = `#/jobs/${next.id}`; };
    const available = [];
    if (isTraining && status === "running") available.push(["Finish now", "finish", update, "primary"]);
    if (!isFinal({ status })) available.push([isTraining ? "Stop" : "Cancel", "cancel", update, "danger"]);
    if (status === "failed" || status === "canceled") available.push(["Retry", "retry", restart, "primary"]);
    if (isTraining && status === "succeeded" && endedEarly) available.push(["Continue training", "continue", open, ""]);
    const buttons = available.map(([text, action, then, style]) => h("button", { type: "button", class: style, onclick: run(action, then) }, text));
    if (links.archive && isFinal({ status }) && counts.ok) {
      buttons.unshift(...["zip", "tar"].map((format, index) =>
        h("a", { class: `button ${index ? "" : "primary"}`, href: `${links.archive}?format=${format}`, download: true }, `Download .${format}`)));
    }
    if (links.model && isTraining) buttons.unshift(h("a", { class: "button primary", href: `#/models/${model}` }, "View report"));
    return { buttons, key: `${status} ${model} ${counts.ok > 0}` };
  }
}

function logView() {
  const list = h("ol", { class: "log", tabindex: 0, "aria-label": "Log" });
  const line = ({ time, data }) => {
    const { level, message, ...fields } = data;
    const details = Object.entries(fields).filter(([name]) => name !== "exception").map(([name, value]) => `${name}=${value}`).join(" ");
    return h("li", { class: level }, h("time", {}, new Date(time).toLocaleTimeString("en-GB")), ` ${message}${details ? ` · ${details}` : ""}${fields.exception ? `\n${fields.exception}` : ""}`);
  };
  return {
    element: h("section", { class: "stack" }, h("h2", {}, "Log"), list),
    clear: () => replace(list),
    add: (event) => {
      const atEnd = list.scrollTop + list.clientHeight > list.scrollHeight - 30;
      list.append(line(event));
      if (list.childElementCount > MAX_LOG_LINES) list.firstElementChild.remove();
      if (atEnd) list.scrollTop = list.scrollHeight;
    },
  };
}

function resultsTable(job, signal) {
  const body = h("div", { class: "stack" });
  const row = (result) => h("tr", {},
    h("td", {}, result.source), h("td", { class: "number" }, result.sample),
    h("td", {}, result.status === "ok"
      ? Object.entries(result.links).map(([kind, link]) => [h("a", { href: link, download: true }, kind), " "])
      : result.message));
  const reload = async () => {
    const { items, next } = await get(`/jobs/${job.id}/results?limit=100`, signal);
    replace(body, items.length === 0 ? h("p", { class: "muted" }, "No results yet.") : [
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Results" }, h("table", {},
        h("thead", {}, h("tr", {}, h("th", {}, "image"), h("th", {}, "sample"), h("th", {}, "files"))),
        h("tbody", {}, items.map(row)))),
      next && h("p", { class: "muted small" }, `These are the first ${formatCount(items.length, "result")}; the archive has all.`)]);
  };
  return { element: h("section", { class: "stack" }, h("h2", {}, "Results"), body), reload: () => reload().catch(showError) };
}
