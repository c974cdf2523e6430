// All jobs, the newest first, live.

import { get, Paged } from "/page/api.js";
import { complain, h, replace } from "/page/dom.js";
import { followJobs } from "/page/live.js";
import { jobRow } from "/page/parts/jobrow.js";
import { Virtual } from "/page/parts/virtual.js";
import { KINDS } from "/page/words.js";

const STATUSES = ["queued", "running", "succeeded", "failed", "canceled"];

export async function show(main, { signal }) {
  const names = Object.fromEntries((await get("/datasets?limit=1000", signal)).items.map((dataset) => [dataset.id, dataset.name]));
  const choice = { kind: "", status: "" };
  let jobs = new Map();
  let paged;
  const empty = h("p", { class: "quiet", hidden: true }, "There are none.");
  const list = new Virtual({
    make: (job) => jobRow(job, names), key: (job) => job.id, height: 92, label: "Jobs", signal,
    more: () => { if (paged && !paged.done && !paged.fetching) paged.more().then(arrange, complain); },
  });
  const wanted = (job) => (!choice.kind || job.kind === choice.kind) && (!choice.status || job.status === choice.status);
  const arrange = () => {
    for (const job of paged.items) if (!jobs.has(job.id)) jobs.set(job.id, job);
    paged.items.length = 0;
    const items = [...jobs.values()].filter(wanted).sort((a, b) => (a.id < b.id ? 1 : -1));
    empty.hidden = items.length > 0;
    list.set(items);
  };
  const reload = async () => {
    jobs = new Map();
    const query = new URLSearchParams(Object.entries(choice).filter(([, value]) => value));
    paged = new Paged(`/jobs?${query}`, signal, 100);
    await paged.more();
    arrange();
  };
  const select = (name, label, options) => h("label", {}, label, h("select", {
    onchange: (event) => { choice[name] = event.target.value; reload().catch(complain); },
  }, h("option", { value: "" }, "all"), options.map(([value, said]) => h("option", { value }, said))));

  replace(main,
    h("div", { class: "head" }, h("h1", {}, "Jobs"), h("div", { class: "row" },
      select("kind", "Kind", Object.entries(KINDS)),
      select("status", "Status", STATUSES.map((status) => [status, status])))),
    empty, list.element);
  await reload();
  followJobs({ job: (job) => { jobs.set(job.id, job); arrange(); }, reload }, signal);
  return "Jobs";
}
