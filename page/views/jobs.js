// All jobs, newest first, with live updates.

import { get, PagedList } from "../api.js";
import { jobRow } from "../components/jobRow.js";
import { VirtualList } from "../components/virtual.js";
import { h, replace, showError } from "../dom.js";
import { subscribeJobs } from "../events.js";
import { KIND_NAMES } from "../format.js";

const STATUSES = ["queued", "running", "succeeded", "failed", "canceled"];

export async function show(main, { signal }) {
  const names = Object.fromEntries((await get("/datasets?limit=1000", signal)).items.map((dataset) => [dataset.id, dataset.name]));
  const filter = { kind: "", status: "" };
  let jobs = new Map();
  let paged;
  const empty = h("p", { class: "muted", hidden: true }, "No jobs.");
  const list = new VirtualList({
    create: (job) => jobRow(job, names), key: (job) => job.id, height: 92, label: "Jobs", signal,
    loadMore: () => { if (paged && !paged.done && !paged.fetching) paged.loadMore().then(update, showError); },
  });
  const matches = (job) => (!filter.kind || job.kind === filter.kind) && (!filter.status || job.status === filter.status);
  const update = () => {
    for (const job of paged.items) if (!jobs.has(job.id)) jobs.set(job.id, job);
    paged.items.length = 0;
    const items = [...jobs.values()].filter(matches).sort((a, b) => (a.id < b.id ? 1 : -1));
    empty.hidden = items.length > 0;
    list.setItems(items);
  };
  const reload = async () => {
    jobs = new Map();
    const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value));
    paged = new PagedList(`/jobs?${query}`, signal, 100);
    await paged.loadMore();
    update();
  };
  const select = (name, label, options) => h("label", {}, label, h("select", {
    onchange: (event) => { filter[name] = event.target.value; reload().catch(showError); },
  }, h("option", { value: "" }, "all"), options.map(([value, text]) => h("option", { value }, text))));

  replace(main,
    h("div", { class: "head" }, h("h1", {}, "Jobs"), h("div", { class: "row" },
      select("kind", "Kind", Object.entries(KIND_NAMES)),
      select("status", "Status", STATUSES.map((status) => [status, status])))),
    empty, list.element);
  await reload();
  subscribeJobs({ onJob: (job) => { jobs.set(job.id, job); update(); }, reload }, signal);
  return "Jobs";
}
