// News of jobs: by server-sent events, and by asking every few seconds where these do not come through.

import { get } from "/page/api.js";
import { complain } from "/page/dom.js";

const SILENT_MS = 5000; // a stream that has not opened by then is held back by something between
const ASK_EVERY_MS = 2000;

/** Opens a stream with a handler for each event; calls `ask` every few seconds while the stream is away. */
function stream(path, handlers, ask, signal) {
  let asking = null;
  const source = new EventSource(path);
  const askFor = () => (asking ??= setInterval(() => ask().catch(() => {}), ASK_EVERY_MS));
  const stopAsking = () => { clearInterval(asking); asking = null; };
  const close = () => { source.close(); stopAsking(); clearTimeout(late); };
  const late = setTimeout(askFor, SILENT_MS);
  source.onopen = () => { clearTimeout(late); stopAsking(); handlers.open?.().catch(complain); };
  source.onerror = askFor; // the browser itself tries to open it again, if it can
  for (const [name, handle] of Object.entries(handlers)) {
    if (name !== "open") source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  }
  signal.addEventListener("abort", close);
  return close;
}

/**
 * Follows one job to its end: `job` is called with the job whenever it has changed, `event` with (kind, event) for each
 * thing that happens in it, once and in order, from the first on.
 */
export function followJob(id, { job, event }, signal) {
  let last = 0;
  const told = (kind) => (each) => {
    if (each.number <= last) return;
    last = each.number;
    event?.(kind, each);
  };
  const ask = async () => {
    const now = await get(`/jobs/${id}`, signal);
    let cursor = last;
    while (cursor !== null) {
      const page = await get(`/jobs/${id}/history?cursor=${cursor}`, signal);
      page.items.forEach((each) => told(each.kind)(each));
      cursor = page.next;
    }
    job(now);
    if (now.status !== "queued" && now.status !== "running") close();
  };
  const kinds = Object.fromEntries(["log", "metrics", "preview"].map((kind) => [kind, told(kind)]));
  const close = stream(`/jobs/${id}/events`, { ...kinds, job, end: () => close() }, ask, signal);
  return close;
}

/** Follows all jobs: `job` is called with each that changes, `reload` when some may have been missed. */
export function followJobs({ job, reload }, signal) {
  return stream("/jobs/events", { job, open: reload }, reload, signal);
}
