// The REST API, for the page: requests with the key of this session, and problem documents as errors in words.

import { key } from "./session.js";

const MAY_PASS = new Set([0, 401, 408, 429, 500, 502, 503, 504]);

/**
 * What the service refused, in words for people. `status` is 0 when it did not answer; `retryAfter` is in seconds,
 * or null; `mayPass` says whether the same request may succeed later.
 */
export class Problem extends Error {
  constructor(status, document = {}, retryAfter = null) {
    const { detail, title, reason } = document || {};
    super(detail || title || (status ? `The service answered ${status}.` : "The service does not answer. Is it running?"));
    this.status = status;
    this.reason = reason || "";
    this.retryAfter = /^\d+$/.test(retryAfter || "") ? Number(retryAfter) : null;
    this.mayPass = MAY_PASS.has(status) || (status === 409 && this.retryAfter !== null);
  }
}

/** Dispatches `signed-out` when the service does not take the key (any more). */
export const access = new EventTarget();

function headers(more = {}) {
  return key() ? { ...more, Authorization: `Bearer ${key()}` } : more;
}

function refuse(problem) {
  if (problem.status === 401) access.dispatchEvent(new Event("signed-out"));
  return problem;
}

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: headers(options.headers), credentials: "same-origin" });
  } catch {
    throw new Problem(0);
  }
  if (!answer.ok) {
    throw refuse(new Problem(answer.status, await answer.json().catch(() => ({})), answer.headers.get("Retry-After")));
  }
  return answer;
}

/** One page of jobs, newest first: {jobs, next}; `next` is the path of the following page, or null. */
export async function listJobs(path) {
  try {
    const answer = await request(path);
    const next = /<([^>]+)>;\s*rel="?next"?/.exec(answer.headers.get("Link") || "");
    return { jobs: await answer.json(), next: next ? next[1] : null };
  } catch (problem) {
    if (problem.reason === "NoJobs") return { jobs: [], next: null };
    throw problem;
  }
}

/** One job, or null when there is none (any more). */
export async function getJob(id) {
  try {
    return await (await request(`/jobs/${encodeURIComponent(id)}`)).json();
  } catch (problem) {
    if (problem.status === 404) return null;
    throw problem;
  }
}

/** Outputs by the name of the preset that the administrator gave them. */
export async function listPresets() {
  return (await request("/presets")).json();
}

/** Signed addresses of a job's thumbnails; null when the service gives out none. */
export async function listLinks(id, seconds) {
  try {
    return await (await request(`/jobs/${encodeURIComponent(id)}/links${seconds ? `?seconds=${seconds}` : ""}`)).json();
  } catch (problem) {
    if (problem.status === 404) return null;
    throw problem;
  }
}

/**
 * What happened to jobs since the event `lastId` (null: from now on): {events: [{type, data}], id, retry}. The
 * answer may be held until something happens. (Not an EventSource: that could not show the key.)
 */
export async function follow(lastId) {
  const answer = await request("/events", { headers: lastId === null ? {} : { "Last-Event-ID": lastId } });
  const found = { events: [], id: lastId, retry: 5000 };
  for (const block of (await answer.text()).split("\n\n")) {
    const fields = Object.fromEntries(block.split("\n").filter(Boolean).map((line) => line.split(/: (.*)/s)));
    if (fields.id) found.id = fields.id;
    if (fields.retry) found.retry = Number(fields.retry);
    if (fields.data) found.events.push({ type: fields.event, data: JSON.parse(fields.data) });
  }
  return found;
}

/** Delete a job, its original and its thumbnails. It is sent even if the page is just being closed. */
export async function deleteJob(id) {
  await request(`/jobs/${encodeURIComponent(id)}`, { method: "DELETE", keepalive: true });
}

/** A URL that an <img> can show: the path itself, or a copy of the file where a key has to be shown. */
export async function pictureUrl(path) {
  if (!key()) return path;
  // Scripts read pictures from here alone: not from an object store that the service would send them to.
  return URL.createObjectURL(await (await request(path, { headers: { Prefer: "no-redirect" } })).blob());
}

/**
 * Upload one file. `onProgress(sent, total)` gets bytes of the request. The answer is the job, or of a ZIP {batchId,
 * items: [a job, or a problem with its fileName]}; an upload whose answer was lost may be sent again with the same `id`
 * and makes no second job.
 */
export function upload(file, fields, id, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append("image", file, file.name || "pasted");
    const sending = new XMLHttpRequest();
    sending.open("POST", "/images");
    sending.responseType = "json";
    for (const [name, value] of Object.entries(headers({ "Idempotency-Key": `"${id}"` }))) sending.setRequestHeader(name, value);
    sending.upload.onprogress = (event) => { if (event.lengthComputable) onProgress(event.loaded, event.total); };
    sending.onerror = () => reject(new Problem(0));
    sending.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    sending.onload = () => {
      if ((sending.status === 201 || sending.status === 207) && sending.response) resolve(sending.response);
      else reject(refuse(new Problem(sending.status, sending.response, sending.getResponseHeader("Retry-After"))));
    };
    signal.addEventListener("abort", () => sending.abort(), { once: true });
    sending.send(form);
  });
}
