// One job: how far it is, what it says, what came of it, and what can be done with it.

import { get, post } from "/page/api.js";
import { complain, h, replace } from "/page/dom.js";
import { followJob } from "/page/live.js";
import { progressBar, statusPill } from "/page/parts/jobrow.js";
import { trainingPart } from "/page/parts/training.js";
import { count, duration, figure, isFinal, KINDS, progressOf, whole } from "/page/words.js";

const MOST_LINES = 2000;

export async function show(main, { id, signal }) {
  let job = await get(`/jobs/${id}`, signal);
  const dataset = job.dataset ? await get(`/datasets/${job.dataset}`, signal).catch((error) => { if (error.name === "AbortError") throw error; return null; }) : null;
  const [bar, pill] = [progressBar("Progress"), statusPill()];
  const facts = h("dl", { class: "facts" });
  const trouble = h("div", {});
  const actions = h("div", { class: "row" });
  const training = job.kind === "train" ? trainingPart(job, signal) : null;
  const results = training ? null : resultsPart(job, signal);
  const log = logPart();

  const act = (what, then) => async (event) => {
    event.target.disabled = true;
    try { await then(await post(job.links[what])); } catch (error) { complain(error); event.target.disabled = false; }
  };
  let offered = null;
  const update = (now) => {
    const began = job.status !== now.status;
    job = now;
    bar.update(job);
    pill.update(job);
    const { per_second: rate, eta_seconds: left, unit } = job.progress;
    const ran = job.started && (new Date(job.finished ?? Date.now()) - new Date(job.started)) / 1000;
    replace(facts, [
      ["done", progressOf({ ...job, status: "", counts: {} })],
      !isFinal(job) && ["rate", rate ? `${figure(rate, 2)} ${unit} a second` : "–"],
      !isFinal(job) && ["time left", duration(left)],
      ["time taken", duration(ran || null)],
      job.kind !== "train" && ["results", `${whole(job.counts.ok)} good, ${whole(job.counts.failed)} failed`],
    ].filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    replace(trouble, job.error && h("p", { class: "notice alarm", role: "alert" }, job.error.message));
    const offer = actionsOf(job, act);
    if (offer.key !== offered) { offered = offer.key; replace(actions, offer.buttons); }
    training?.job(job);
    if (began) results?.reload();
  };

  replace(main,
    h("div", { class: "head" },
      h("div", {},
        h("p", { class: "crumb" }, h("a", { href: "#/jobs" }, "Jobs"), dataset && [" · ", h("a", { href: `#/datasets/${dataset.id}` }, dataset.name)]),
        h("h1", {}, KINDS[job.kind], " ", pill.element)),
      actions),
    h("section", { class: "card", "aria-label": "Progress" }, bar.element, facts, trouble),
    training?.element, results?.element, log.element);
  update(job);
  results?.reload();
  let following = () => {};
  const follow = () => { following(); following = followJob(id, { job: update, event: (kind, event) => {
    if (kind === "log") log.add(event);
    training?.event(kind, event);
  } }, signal); };
  follow();
  return KINDS[job.kind];

  function actionsOf(now, run) {
    const again = () => { log.clear(); training?.clear(); follow(); };
    const button = (text, what, then, kind) => h("button", { type: "button", class: kind, onclick: run(what, then) }, text);
    const open = (next) => { location.hash = `#/jobs/${next.id}`; };
    const offers = [];
    if (now.kind === "train" && now.status === "running") offers.push(["Stop and keep", "finish", update, "first"]);
    if (!isFinal(now)) offers.push([now.kind === "train" ? "Stop" : "Cancel", "cancel", update, "grave"]);
    if (now.status === "failed" || now.status === "canceled") offers.push([now.kind === "train" ? "Go on" : "Retry", "retry", (next) => { update(next); again(); }, "first"]);
    const early = now.kind === "train" && now.status === "succeeded" && now.ended_early;
    if (early) offers.push(["Go on", "continue", open, ""]);
    const buttons = offers.map((each) => button(...each));
    if (now.links.archive && isFinal(now) && now.counts.ok) {
      buttons.unshift(...["zip", "tar"].map((form, index) =>
        h("a", { class: `button ${index ? "" : "first"}`, href: `${now.links.archive}?format=${form}`, download: true }, `Download .${form}`)));
    }
    if (now.links.model && now.kind === "train") buttons.unshift(h("a", { class: "button first", href: `#${now.links.model}` }, "Its report"));
    return { buttons, key: `${now.status} ${now.model} ${now.counts.ok > 0}` };
  }
}

function logPart() {
  const list = h("ol", { class: "log", tabindex: 0, "aria-label": "Log" });
  const line = ({ time, data }) => {
    const { level, message, ...more } = data;
    const rest = Object.entries(more).filter(([name]) => name !== "exception").map(([name, value]) => `${name}=${value}`).join(" ");
    return h("li", { class: level }, h("time", {}, new Date(time).toLocaleTimeString("en-GB")), ` ${message}${rest ? ` · ${rest}` : ""}${more.exception ? `\n${more.exception}` : ""}`);
  };
  return {
    element: h("section", { class: "stack" }, h("h2", {}, "Log"), list),
    clear: () => replace(list),
    add: (event) => {
      const atEnd = list.scrollTop + list.clientHeight > list.scrollHeight - 30;
      list.append(line(event));
      if (list.childElementCount > MOST_LINES) list.firstElementChild.remove();
      if (atEnd) list.scrollTop = list.scrollHeight;
    },
  };
}

function resultsPart(job, signal) {
  const body = h("div", { class: "stack" });
  const row = (result) => h("tr", {},
    h("td", {}, result.source), h("td", { class: "number" }, result.sample),
    h("td", {}, result.status === "ok"
      ? Object.entries(result.links).map(([what, link]) => [h("a", { href: link, download: true }, what), " "])
      : result.message));
  const reload = async () => {
    const { items, next } = await get(`/jobs/${job.id}/results?limit=100`, signal);
    replace(body, items.length === 0 ? h("p", { class: "quiet" }, "Nothing yet.") : [
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Results" }, h("table", {},
        h("thead", {}, h("tr", {}, h("th", {}, "image"), h("th", {}, "sample"), h("th", {}, "files"))),
        h("tbody", {}, items.map(row)))),
      next && h("p", { class: "quiet small" }, `The first ${count(items.length, "result")}; the archive has all.`)]);
  };
  return { element: h("section", { class: "stack" }, h("h2", {}, "Results"), body), reload: () => reload().catch(complain) };
}
