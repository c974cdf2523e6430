// One large file in parts, by the protocol tus 1.0: what has come stays, also when the page is closed in between.

import { get, passes, Problem, send } from "/page/api.js";

const PART_BYTES = 16 * 2 ** 20;
const TUS = { "Tus-Resumable": "1.0.0" };

/**
 * Sends what is lacking of a file and gives the service's answer, as for a file that is sent whole. `sent` is told how
 * many bytes have gone. Throws `Problem`s; after one that passes the next call goes on where this one ended.
 */
export async function sendInParts(dataset, role, file, name, sent) {
  const kept = `upload ${dataset} ${role} ${name} ${file.size} ${file.lastModified}`;
  const { place, offset } = (await known(kept)) ?? (await begun(dataset, role, file, name, kept));
  try {
    for (let at = offset; at < file.size;) {
      const headers = { ...TUS, "Upload-Offset": at, "Content-Type": "application/offset+octet-stream" };
      const answer = await send("PATCH", place, { headers, body: file.slice(at, at + PART_BYTES), sent: (bytes) => sent(at + bytes) });
      at = Number(answer.getResponseHeader("Upload-Offset"));
      sent(at);
    }
    const { result, problem } = await get(place);
    if (problem) throw new Problem(problem.status, problem);
    forget(kept);
    return result;
  } catch (error) {
    if (!passes(error)) forget(kept);
    throw error;
  }
}

async function begun(dataset, role, file, name, kept) {
  const encoded = btoa(String.fromCharCode(...new TextEncoder().encode(name)));
  const headers = { ...TUS, "Upload-Length": file.size, "Upload-Metadata": `filename ${encoded}` };
  const answer = await send("POST", `/datasets/${dataset}/uploads?role=${role}`, { headers });
  const place = answer.getResponseHeader("Location");
  remember(kept, place);
  return { place, offset: 0 };
}

/** Where the file goes and how much of it has come, if it was begun before. */
async function known(kept) {
  const place = recall(kept);
  if (!place) return null;
  try {
    const answer = await send("HEAD", place, { headers: TUS });
    return { place, offset: Number(answer.getResponseHeader("Upload-Offset")) };
  } catch (error) {
    if (error.status !== 404) throw error;
    forget(kept);
    return null;
  }
}

const places = new Map(); // for as long as the page is open; a browser may refuse to keep anything longer

function remember(kept, place) {
  places.set(kept, place);
  try { localStorage.setItem(kept, place); } catch { /* then a reload begins the file anew */ }
}

function recall(kept) {
  try { return localStorage.getItem(kept) ?? places.get(kept); } catch { return places.get(kept); }
}

function forget(kept) {
  places.delete(kept);
  try { localStorage.removeItem(kept); } catch { /* nothing was kept */ }
}
