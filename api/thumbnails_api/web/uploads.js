// The way of chosen pictures to the service: one group for all that were sent together, a row for each that is on its way.

import { getJob, Problem, upload } from "./api.js";
import { announce } from "./messages.js";
import { Queue } from "./queue.js";
import { bytes, count, duration, stateWord } from "./words.js";

const PARALLEL = 3; // a browser has six connections to a host, for thumbnails and news too
const SEEN_MILLISECONDS = 1500; // how long a row says that it is done
const NAMED = 3; // refused files of a ZIP that are told one by one
const ON_THE_WAY = new Set(["waiting", "sending"]);

const list = document.getElementById("transfers");
const groupTemplate = document.getElementById("group-template");
const rowTemplate = document.getElementById("transfer-template");

const queue = new Queue(PARALLEL);
const groups = new Set();
const byJob = new Map(); // job id -> Transfer whose job has not ended
let take = (job) => job;

/** Begin; `onJob(job)` is called for each upload that the service took, and says how the job is by now. */
export function startUploads(onJob) {
  take = onJob;
  addEventListener("beforeunload", (event) => {
    if ([...groups].some((group) => group.some(ON_THE_WAY))) event.preventDefault(); // the browser asks
  });
  setInterval(() => groups.forEach((group) => group.tick()), 1000);
}

/** Upload these files, each with these fields. */
export function uploadAll(files, fields) {
  const group = new Group(files, fields);
  groups.add(group);
  list.prepend(group.element);
  group.start();
  announce(`Uploading ${count(files.length, "picture")}.`);
}

/** Tell the row of this job's upload, if it is still there, what became of the job. */
export function tellTransfer(job) {
  byJob.get(job.id)?.hear(job);
}

/** News were missed: ask. */
export async function refreshTransfers() {
  for (const [id, transfer] of [...byJob]) {
    transfer.hear((await getJob(id)) || { status: "cancelled", completedAt: true, error: { message: "It was deleted." } });
  }
}

/** Nothing more is sent. */
export function stopUploads() {
  groups.forEach((group) => group.stop());
}

class Group {
  #transfers;
  #drawn = false;
  #parts;

  constructor(files, fields) {
    this.element = groupTemplate.content.firstElementChild.cloneNode(true);
    this.#parts = Object.fromEntries(
      ["title", "counts", "total", "rows", "rest", "retry", "stop", "dismiss"].map((name) => [name, this.element.querySelector(`.${name}`)]),
    );
    this.#transfers = files.map((file) => new Transfer(file, fields, this));
    this.element.classList.toggle("single", files.length === 1);
    this.#parts.title.textContent = count(files.length, "picture");
    this.#parts.total.setAttribute("aria-label", `Upload of ${count(files.length, "picture")}`);
    this.#parts.retry.addEventListener("click", () => this.#retry());
    this.#parts.stop.addEventListener("click", () => { this.stop(); document.getElementById("files").focus(); });
    this.#parts.dismiss.addEventListener("click", () => this.#close(true));
  }

  start() {
    this.#transfers.forEach((transfer) => transfer.begin());
    this.changed();
  }

  stop() {
    this.#transfers.forEach((transfer) => transfer.cancel());
    this.changed();
  }

  some(states) {
    return this.#transfers.some((transfer) => states.has(transfer.state));
  }

  /** Seconds that go by are told, of those that wait. */
  tick() {
    this.#transfers.forEach((transfer) => transfer.tick());
  }

  /** Something of it is different: draw it once in this frame. */
  changed() {
    if (this.#drawn) return;
    this.#drawn = true;
    // Not a frame: a page in the background has none.
    setTimeout(() => { this.#drawn = false; this.#draw(); }, 50);
  }

  #draw() {
    const parts = this.#parts;
    const all = this.#transfers.filter((transfer) => transfer.state !== "cancelled");
    const of = (...states) => all.filter((transfer) => states.includes(transfer.state));
    const failed = of("failed");
    const [total, sent] = ["size", "sent"].map((what) => all.reduce((sum, transfer) => sum + transfer[what], 0));
    parts.total.value = total ? sent / total : 1;
    const counts = [`${of("stored", "done").length} of ${all.length} uploaded (${bytes(sent)} of ${bytes(total)})`];
    if (of("done").length) counts.push(`${of("done").length} done`);
    if (failed.length) counts.push(`${failed.length} failed`);
    parts.counts.textContent = counts.join(", ");
    const waiting = of("waiting").filter((transfer) => !transfer.row).length;
    parts.rest.hidden = !waiting;
    parts.rest.textContent = `${count(waiting, "more picture")} waiting`;
    const busy = of("waiting", "sending", "stored").length > 0;
    parts.retry.hidden = failed.filter((transfer) => transfer.mayRetry).length < 2;
    parts.stop.hidden = !of(...ON_THE_WAY).length;
    parts.dismiss.hidden = busy || failed.length < 2;
    if (!busy && !failed.length) this.#close(false);
  }

  #retry() {
    for (const transfer of this.#transfers) if (transfer.mayRetry) transfer.begin();
    document.getElementById("files").focus();
  }

  #close(focus) {
    groups.delete(this);
    this.element.remove();
    if (focus) document.getElementById("files").focus();
  }

  /** A row of this transfer, in the order of the files. */
  place(transfer) {
    const next = this.#transfers.slice(this.#transfers.indexOf(transfer) + 1).find((other) => other.row);
    this.#parts.rows.insertBefore(transfer.row, next?.row || null);
  }
}

/** Nobody else's; `crypto.randomUUID` is not there on pages that came over plain HTTP. */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One file: waiting, sending, stored (its job is being done), then done, failed or cancelled. */
class Transfer {
  state = "waiting";
  row = null;
  sent = 0; // bytes
  #file;
  #fields;
  #group;
  #id = newId(); // the same in all tries: a lost answer makes no second job
  #stopping = new AbortController();
  #error = null;
  #pause = null; // {until: milliseconds since 1970, why}

  constructor(file, fields, group) {
    this.#file = file;
    this.#fields = fields;
    this.#group = group;
    this.size = file.size;
    this.name = file.name || "pasted picture";
  }

  get mayRetry() {
    return this.state === "failed" && this.#error !== null && this.#error.mayPass;
  }

  begin() {
    this.#become("waiting");
    this.#forgetRow();
    this.#error = null;
    queue.add(() => this.#run());
  }

  cancel() {
    if (!ON_THE_WAY.has(this.state)) return;
    this.#become("cancelled");
    this.#stopping.abort();
    this.#forgetRow();
  }

  /** News of its job. */
  hear(job) {
    if (this.state !== "stored") return;
    this.#say(stateWord(job.status));
    if (!job.completedAt) return;
    byJob.delete(job.id);
    if (job.status === "complete") {
      this.#become("done");
      setTimeout(() => this.#forgetRow(), SEEN_MILLISECONDS);
    } else {
      this.#fail({ message: job.error?.message || stateWord(job.status), mayPass: false });
    }
  }

  tick() {
    if (!this.#pause) return;
    const seconds = (this.#pause.until - Date.now()) / 1000;
    if (seconds > 0) this.#say(`${this.#pause.why} Again in ${duration(seconds)}.`);
  }

  async #run() {
    if (this.state !== "waiting") return;
    this.#become("sending");
    this.#showRow();
    const { signal } = this.#stopping;
    try {
      const answer = await queue.persist(() => this.#send(signal), (seconds, error) => {
        this.#pause = { until: Date.now() + seconds * 1000, why: error.message };
        this.tick();
      }, signal);
      this.sent = this.size;
      if (answer.items) {
        this.#takeBatch(answer.items);
        return;
      }
      this.#become("stored");
      byJob.set(answer.id, this);
      this.hear(take(answer));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      this.#fail(error);
    }
  }

  /** What was in a ZIP: its jobs are in the gallery, here is told what was refused. */
  #takeBatch(items) {
    const refused = items.filter((item) => item.detail !== undefined);
    for (const item of items) if (!refused.includes(item)) take(item);
    announce(`${this.name}: ${count(items.length - refused.length, "picture")} taken.`);
    if (!refused.length) {
      this.#become("done");
      this.#forgetRow();
      return;
    }
    const named = refused.slice(0, NAMED).map((item) => `${item.fileName || "One"}: ${item.detail}`);
    const more = refused.length > NAMED ? ` And ${refused.length - NAMED} more.` : "";
    this.#fail({ message: `${refused.length} of ${items.length} ${refused.length === 1 ? "was" : "were"} refused. ${named.join(" ")}${more}`, mayPass: false });
  }

  async #send(signal) {
    this.#pause = null;
    this.#say("Uploading");
    try {
      await this.#file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Problem(400, { detail: "The file could not be read." });
    }
    const job = await upload(this.#file, this.#fields, this.#id, (sent, total) => {
      this.sent = Math.min(this.size, sent);
      this.row.querySelector("progress").value = total ? sent / total : 1;
      this.#say(sent < total ? `Uploading, ${bytes(this.sent)} of ${bytes(this.size)}` : "Being stored");
      this.#group.changed();
    }, signal);
    this.row.querySelector("progress").removeAttribute("value");
    return job;
  }

  #fail(error) {
    this.#error = error;
    this.sent = 0;
    this.#become("failed");
    const later = error.retryAfter ? ` It may go on in ${duration(error.retryAfter)}.` : "";
    this.#showRow();
    this.#say(error.message + later);
    this.row.classList.add("bad");
    this.row.querySelector("progress").hidden = true;
    this.row.querySelector(".retry").hidden = !error.mayPass;
    this.row.querySelector(".dismiss").hidden = false;
    announce(`${this.name}: ${error.message}`);
  }

  #become(state) {
    this.state = state;
    this.#pause = null;
    this.#group.changed();
  }

  #say(text) {
    if (this.row) this.row.querySelector(".state").textContent = text;
  }

  #showRow() {
    if (this.row) return;
    const row = rowTemplate.content.firstElementChild.cloneNode(true);
    this.row = row;
    row.querySelector(".name").textContent = this.name;
    row.querySelector("progress").setAttribute("aria-label", `Upload of ${this.name}`);
    const [retry, dismiss] = [".retry", ".dismiss"].map((selector) => row.querySelector(selector));
    retry.setAttribute("aria-label", `Try ${this.name} again`);
    dismiss.setAttribute("aria-label", `Dismiss ${this.name}`);
    retry.addEventListener("click", () => { this.begin(); document.getElementById("files").focus(); });
    dismiss.addEventListener("click", () => {
      this.#become("cancelled");
      this.#forgetRow();
      document.getElementById("files").focus();
    });
    this.#group.place(this);
  }

  #forgetRow() {
    this.row?.remove();
    this.row = null;
    this.#group.changed();
  }
}
