// Calls of the service. Errors are thrown as Problems, with the service's own words.

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `The service answered ${status}.`);
    Object.assign(this, { status, code: body.code ?? "unknown", rejected: body.rejected ?? [] });
  }
}

/** Whether the same call may be answered otherwise in a while. */
export const passes = ({ status, code }) => [0, 423, 429].includes(status) || status >= 500 || code === "other_offset";

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { code: "unreachable", detail: "The service cannot be reached. Is it running?" });
  }
  if (response.status === 204) return null;
  const body = await response.json().catch((error) => { if (response.ok) throw error; return {}; });
  if (!response.ok) throw new Problem(response.status, body);
  return body;
}

/** Gives the service a token, which the browser then sends with every call. */
export const openSession = (token) => answer("/page/session", json("POST", { token }));

const json = (method, body) => ({ method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

export const get = (path, signal) => answer(path, { signal });
export const remove = (path) => answer(path, { method: "DELETE" });

export const post = (path, body) => answer(path, body === undefined ? { method: "POST" } : json("POST", body));

/** `wait`: the answer comes when the job has ended, but after so many seconds at the latest. */
export const postForm = (path, form, { wait, signal } = {}) =>
  answer(path, { method: "POST", body: form, signal, headers: wait ? { Prefer: `wait=${wait}` } : {} });

/** Gives the finished XMLHttpRequest; unlike fetch it tells `sent` how many bytes of the body have gone. */
export function send(method, path, { headers = {}, body = null, sent } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, path);
    request.responseType = "json";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (sent) request.upload.onprogress = (event) => sent(event.loaded);
    request.onerror = () => reject(new Problem(0, { code: "unreachable", detail: "The connection was lost. It goes on by itself when it is back." }));
    request.onload = () => {
      const { status, response } = request;
      if (status >= 200 && status < 300) return resolve(request);
      reject(new Problem(status, response ?? (passes({ status }) ? { detail: "The service is in trouble. Trying again …" } : {})));
    };
    request.send(body);
  });
}

export async function bytes(path, signal) {
  const response = await fetch(path, { signal });
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  return response.arrayBuffer();
}

/** A list that is fetched page by page, as `more` is called; `done` when there is no more. */
export class Paged {
  constructor(path, signal, limit = 200) {
    Object.assign(this, { path, signal, limit, items: [], cursor: null, done: false, fetching: null });
  }

  async more() {
    if (this.done) return;
    this.fetching ??= this.#fetch().finally(() => (this.fetching = null));
    await this.fetching;
  }

  async #fetch() {
    const url = new URL(this.path, location.href);
    url.searchParams.set("limit", this.limit);
    if (this.cursor) url.searchParams.set("cursor", this.cursor);
    const page = await get(url, this.signal);
    this.items.push(...page.items);
    this.cursor = page.next;
    this.done = page.next === null;
  }
}
