// The REST API, for the page: requests with the key of this tab, and problem documents as errors in words.

const KEY = "thumbnails-key";

/** What the service refused, in words for people. `status` is 0 when it did not answer. */
export class Problem extends Error {
  constructor(status, document = {}) {
    super(document.detail || document.title || (status ? `The service answered ${status}.` : "The service does not answer. Is it running?"));
    this.status = status;
    this.reason = document.reason || "";
  }
}

/** The key that was given in this tab, or null. */
export function key() {
  return sessionStorage.getItem(KEY);
}

/** Keep a key in this tab; null forgets it. */
export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

function headers(more = {}) {
  return key() ? { ...more, Authorization: `Bearer ${key()}` } : more;
}

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: headers(options.headers), credentials: "same-origin" });
  } catch {
    throw new Problem(0);
  }
  if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => ({})));
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

/**
 * What happened to jobs since the event `lastId` (null: from now on): {events: [{type, data}], id, retry}. The
 * answer may be held until something happens. (Not an EventSource: that could not show the key.)
 */
export async function follow(lastId, signal) {
  const answer = await request("/events", { signal, headers: lastId === null ? {} : { "Last-Event-ID": lastId } });
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
  return URL.createObjectURL(await (await request(path)).blob());
}

/**
 * Upload one file. `onProgress(share)` gets 0..1. The answer is the job; an upload whose answer was lost may be
 * sent again with the same `id` and makes no second job.
 */
export function upload(file, options, id, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(options)) form.append(name, value);
    form.append("image", file, file.name || "pasted");
    const sending = new XMLHttpRequest();
    sending.open("POST", "/images");
    sending.responseType = "json";
    for (const [name, value] of Object.entries(headers({ "Idempotency-Key": `"${id}"` }))) sending.setRequestHeader(name, value);
    sending.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    sending.onerror = () => reject(new Problem(0));
    sending.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    sending.onload = () => {
      if (sending.status === 201 && sending.response) resolve(sending.response);
      else reject(new Problem(sending.status, sending.response || {}));
    };
    signal.addEventListener("abort", () => sending.abort(), { once: true });
    sending.send(form);
  });
}
