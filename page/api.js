// Calls of the API. Errors are thrown as Problems with the service's message.

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `The service answered ${status}.`);
    Object.assign(this, { status, code: body.code ?? "unknown", rejected: body.rejected ?? [] });
  }
}

/** Whether the same call may succeed later. */
export const isRetryable = ({ status, code }) => [0, 423, 429].includes(status) || status >= 500 || code === "offset_mismatch";

const ROOT = new URL("..", import.meta.url).pathname; // "/", or a longer path behind a reverse proxy

/** The URL of a path of the API. Links in answers have the root already. */
export const toUrl = (path) => (path instanceof URL || path.startsWith(ROOT) ? path : ROOT + path.slice(1));

async function request(path, options) {
  let response;
  try {
    response = await fetch(toUrl(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { code: "unreachable", detail: "The service cannot be reached. Is it running?" });
  }
  if (response.status === 204) return null;
  const body = await response.json().catch((error) => { if (response.ok) throw error; return {}; });
  if (!response.ok) throw new Problem(response.status, body);
  return body;
}

/** Sends a token to the service, which stores it in a cookie for all calls. */
export const openSession = (token) => request("/page/session", withJson("POST", { token }));

const withJson = (method, body) => ({ method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

export const get = (path, signal) => request(path, { signal });
export const remove = (path) => request(path, { method: "DELETE" });

export const post = (path, body) => request(path, body === undefined ? { method: "POST" } : withJson("POST", body));

/** `wait`: seconds that the response may wait for the job's end. */
export const postForm = (path, form, { wait, signal } = {}) =>
  request(path, { method: "POST", body: form, signal, headers: wait ? { Prefer: `wait=${wait}` } : {} });

/** Resolves to the finished XMLHttpRequest. Unlike fetch it reports the bytes sent so far, to `onProgress`. */
export function send(method, path, { headers = {}, body = null, onProgress } = {}) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open(method, toUrl(path));
    xhr.responseType = "json";
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    if (onProgress) xhr.upload.onprogress = (event) => onProgress(event.loaded);
    xhr.onerror = () => reject(new Problem(0, { code: "unreachable", detail: "Connection lost. The upload resumes when it is back." }));
    xhr.onload = () => {
      const { status, response } = xhr;
      if (status >= 200 && status < 300) return resolve(xhr);
      reject(new Problem(status, response ?? (isRetryable({ status }) ? { detail: "The service has a problem. Retrying …" } : {})));
    };
    xhr.send(body);
  });
}

export async function getBytes(path, signal) {
  const response = await fetch(toUrl(path), { signal });
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  return response.arrayBuffer();
}

/** A list that `loadMore` fetches page by page; `done` after the last page. */
export class PagedList {
  constructor(path, signal, limit = 200) {
    Object.assign(this, { path, signal, limit, items: [], cursor: null, done: false, fetching: null });
  }

  async loadMore() {
    if (this.done) return;
    this.fetching ??= this.#fetch().finally(() => (this.fetching = null));
    await this.fetching;
  }

  async #fetch() {
    const url = new URL(toUrl(this.path), location.href);
    url.searchParams.set("limit", this.limit);
    if (this.cursor) url.searchParams.set("cursor", this.cursor);
    const page = await get(url, this.signal);
    this.items.push(...page.items);
    this.cursor = page.next;
    this.done = page.next === null;
  }
}
