// Updates of jobs by server-sent events. Where these do not arrive, the page polls every few seconds.

import { get, toUrl } from "./api.js";
import { showError } from "./dom.js";

const OPEN_TIMEOUT_MS = 5000; // a proxy may hold a stream back
const POLL_INTERVAL_MS = 2000;

/** Opens a stream with a handler for each event. Calls `poll` regularly while the stream is down. */
function openStream(path, handlers, poll, signal) {
  let polling = null;
  const source = new EventSource(toUrl(path));
  const startPolling = () => (polling ??= setInterval(() => poll().catch(() => {}), POLL_INTERVAL_MS));
  const stopPolling = () => { clearInterval(polling); polling = null; };
  const close = () => { source.close(); stopPolling(); clearTimeout(timeout); };
  const timeout = setTimeout(startPolling, OPEN_TIMEOUT_MS);
  source.onopen = () => { clearTimeout(timeout); stopPolling(); handlers.open?.().catch(showError); };
  source.onerror = startPolling; // the browser reconnects by itself, if it can
  for (const [name, handle] of Object.entries(handlers)) {
    if (name !== "open") source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  }
  signal.addEventListener("abort", close);
  return close;
}

/**
 * Subscribes to one job until it ends. `onJob(job)` is called after each change, `onEvent(kind, event)` for each of
 * its events, once and in order, from the first on.
 */
export function subscribeJob(id, { onJob, onEvent }, signal) {
  let lastNumber = 0;
  const handle = (kind) => (event) => {
    if (event.number <= lastNumber) return;
    lastNumber = event.number;
    onEvent?.(kind, event);
  };
  const poll = async () => {
    const job = await get(`/jobs/${id}`, signal);
    let cursor = lastNumber;
    while (cursor !== null) {
      const page = await get(`/jobs/${id}/history?cursor=${cursor}`, signal);
      page.items.forEach((event) => handle(event.kind)(event));
      cursor = page.next;
    }
    onJob(job);
    if (job.status !== "queued" && job.status !== "running") close();
  };
  const handlers = Object.fromEntries(["log", "metrics", "preview"].map((kind) => [kind, handle(kind)]));
  const close = openStream(`/jobs/${id}/events`, { ...handlers, job: onJob, end: () => close() }, poll, signal);
  return close;
}

/** Subscribes to all jobs: `onJob(job)` after each change, `reload()` when changes may have been missed. */
export function subscribeJobs({ onJob, reload }, signal) {
  return openStream("/jobs/events", { job: onJob, open: reload }, reload, signal);
}
