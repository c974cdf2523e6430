// One large file in parts, by the protocol tus 1.0: what has come stays, also when the page is closed in between.

const PART_BYTES = 16 * 2 ** 20;
const TUS = { "Tus-Resumable": "1.0.0" };
const FORGOTTEN = [404, 410];

/** What went wrong with a call, and whether it may be tried again. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.detail ?? (status ? `The service answered ${status}.` : "The connection was lost. It goes on by itself when it is back."));
    const passes = [0, 423, 429].includes(status) || status >= 500 || body?.code === "other_offset";
    Object.assign(this, { status, rejected: body?.rejected, again: passes });
  }
}

/** XMLHttpRequest and not fetch, which does not tell how much of a body has gone. Throws `Refused`. */
export function call(method, path, { headers = {}, body = null, sent } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, path);
    request.responseType = "json";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (sent) request.upload.onprogress = (event) => sent(event.loaded);
    request.onerror = () => reject(new Refused(0));
    request.onload = () => (request.status >= 200 && request.status < 300 ? resolve(request) : reject(new Refused(request.status, request.response)));
    request.send(body);
  });
}

/**
 * Sends what is lacking of a file and gives the service's answer, as for a file that is sent whole. `sent` is told how
 * many bytes have gone. Throws `Refused`; after one that may be tried again the next call goes on where this one ended.
 */
export async function sendInParts(dataset, role, file, name, sent) {
  const kept = `upload ${dataset} ${role} ${name} ${file.size} ${file.lastModified}`;
  const { place, offset } = (await known(kept)) ?? (await begun(dataset, role, file, name, kept));
  try {
    for (let at = offset; at < file.size;) {
      const headers = { ...TUS, "Upload-Offset": at, "Content-Type": "application/offset+octet-stream" };
      const answer = await call("PATCH", place, { headers, body: file.slice(at, at + PART_BYTES), sent: (bytes) => sent(at + bytes) });
      at = Number(answer.getResponseHeader("Upload-Offset"));
      sent(at);
    }
    const { response } = await call("GET", place);
    if (response.problem) throw new Refused(response.problem.status, response.problem);
    localStorage.removeItem(kept);
    return response.result;
  } catch (error) {
    if (!error.again) localStorage.removeItem(kept);
    throw error;
  }
}

async function begun(dataset, role, file, name, kept) {
  const encoded = btoa(String.fromCharCode(...new TextEncoder().encode(name)));
  const headers = { ...TUS, "Upload-Length": file.size, "Upload-Metadata": `filename ${encoded}` };
  const answer = await call("POST", `/datasets/${dataset}/uploads?role=${role}`, { headers });
  const place = answer.getResponseHeader("Location");
  localStorage.setItem(kept, place);
  return { place, offset: 0 };
}

/** Where the file goes and how much of it has come, if it was begun before. */
async function known(kept) {
  const place = localStorage.getItem(kept);
  if (!place) return null;
  try {
    const answer = await call("HEAD", place, { headers: TUS });
    return { place, offset: Number(answer.getResponseHeader("Upload-Offset")) };
  } catch (error) {
    if (!FORGOTTEN.includes(error.status)) throw error;
    localStorage.removeItem(kept);
    return null;
  }
}
