// Uploads one large file in parts with the tus 1.0 protocol. Received parts are kept, even when the page is closed.

import { get, isRetryable, Problem, send } from "./api.js";

const PART_BYTES = 16 * 2 ** 20;
const TUS = { "Tus-Resumable": "1.0.0" };

/**
 * Sends the missing parts of a file. Resolves to the same answer as for a file that is sent whole.
 * `onProgress` receives the bytes sent so far. Throws `Problem`s; after a retryable one, the next call resumes.
 */
export async function uploadResumable(dataset, role, file, name, options, onProgress) {
  const key = `upload ${dataset} ${role} ${name} ${file.size} ${file.lastModified} ${Object.values(options)}`;
  const { location, offset: start } = (await findUpload(key)) ?? (await createUpload(dataset, role, file, { filename: name, ...options }, key));
  try {
    for (let offset = start; offset < file.size;) {
      const headers = { ...TUS, "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" };
      const body = file.slice(offset, offset + PART_BYTES);
      const answer = await send("PATCH", location, { headers, body, onProgress: (bytes) => onProgress(offset + bytes) });
      offset = Number(answer.getResponseHeader("Upload-Offset"));
      onProgress(offset);
    }
    const { result, problem } = await get(location);
    if (problem) throw new Problem(problem.status, problem);
    forget(key);
    return result;
  } catch (error) {
    if (!isRetryable(error)) forget(key);
    throw error;
  }
}

async function createUpload(dataset, role, file, metadata, key) {
  const pairs = Object.entries(metadata).map(([field, value]) => `${field} ${btoa(String.fromCharCode(...new TextEncoder().encode(value)))}`);
  const headers = { ...TUS, "Upload-Length": file.size, "Upload-Metadata": pairs.join(",") };
  const answer = await send("POST", `/datasets/${dataset}/uploads?role=${role}`, { headers });
  const location = answer.getResponseHeader("Location");
  remember(key, location);
  return { location, offset: 0 };
}

/** Finds an earlier upload of the file and the bytes that have arrived; null if there is none. */
async function findUpload(key) {
  const location = recall(key);
  if (!location) return null;
  try {
    const answer = await send("HEAD", location, { headers: TUS });
    return { location, offset: Number(answer.getResponseHeader("Upload-Offset")) };
  } catch (error) {
    if (error.status !== 404) throw error;
    forget(key);
    return null;
  }
}

const locations = new Map(); // lives as long as the page; a browser may refuse local storage

function remember(key, location) {
  locations.set(key, location);
  try { localStorage.setItem(key, location); } catch { /* after a reload the file starts over */ }
}

function recall(key) {
  try { return localStorage.getItem(key) ?? locations.get(key); } catch { return locations.get(key); }
}

function forget(key) {
  locations.delete(key);
  try { localStorage.removeItem(key); } catch { /* nothing was stored */ }
}
