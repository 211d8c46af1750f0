// Chosen pictures, the form with their options, and their way to the service.

import { Problem, upload } from "./api.js";
import { announce } from "./messages.js";
import { draw, setPicture } from "./preview.js";
import { count, stateWord } from "./words.js";

const PARALLEL = 3;
const TRIES = 3;
const MAY_PASS = new Set([0, 429, 502, 503, 504]);

const drop = document.getElementById("drop");
const files = document.getElementById("files");
const form = document.getElementById("upload");
const start = document.getElementById("start");
const transfers = document.getElementById("transfers");
const template = document.getElementById("transfer-template");

let chosen = [];
let running = 0;
const waiting = [];
const rows = new Map(); // job id -> how its row is told of news

/** Begin to listen; `onJob(job)` is called for each upload that the service took, and says how the job is. */
export function startUploads(onJob) {
  files.addEventListener("change", () => { choose([...files.files]); files.value = ""; });
  for (const type of ["dragenter", "dragover"]) {
    document.addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.remove("over");
    choose([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files || [])];
    if (pasted.length) choose(pasted);
  });
  form.addEventListener("input", redraw);
  document.getElementById("cancel").addEventListener("click", () => { close(); files.focus(); });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const options = sentOptions();
    for (const file of chosen) enqueue(file, options, onJob);
    announce(`Uploading ${count(chosen.length, "picture")}.`);
    close();
    files.focus();
  });
}

/** Tell the row of this job's upload, if it is still there, what became of the job. */
export function tellTransfer(job) {
  rows.get(job.id)?.(job);
}

function choose(picked) {
  if (!picked.length || document.getElementById("workplace").hidden) return;
  chosen = [...chosen, ...picked];
  start.textContent = `Upload ${count(chosen.length, "picture")}`;
  form.hidden = false;
  setPicture(picked.find((file) => file.type.startsWith("image/")) || picked[0], redraw);
  redraw();
  start.focus();
  announce(`${count(chosen.length, "picture")} chosen. Choose options, then upload.`);
}

function close() {
  chosen = [];
  form.hidden = true;
  setPicture(null);
}

function options() {
  const value = (name) => form.elements[name].value;
  const number = (name) => (form.elements[name].validity.valid && value(name) ? Number(value(name)) : null);
  return {
    width: number("width"), height: number("height"), fit: value("fit"), position: value("position"),
    format: value("format"), background: form.elements.background.disabled ? null : value("background"),
  };
}

function redraw() {
  form.elements.background.disabled = form.elements.fit.value !== "contain";
  form.elements.position.disabled = !["cover", "contain"].includes(form.elements.fit.value);
  draw(options());
}

/** Only what is set and matters: the service knows the rest. */
function sentOptions() {
  const all = options();
  if (form.elements.position.disabled) delete all.position;
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
}

function enqueue(file, sent, onJob) {
  const row = template.content.firstElementChild.cloneNode(true);
  const [name, bar, state, dismiss] = [".name", "progress", ".state", ".dismiss"].map((selector) => row.querySelector(selector));
  name.textContent = file.name || "pasted picture";
  bar.setAttribute("aria-label", `Upload of ${name.textContent}`);
  state.textContent = "Waiting";
  dismiss.setAttribute("aria-label", `Dismiss ${name.textContent}`);
  transfers.append(row);
  const stop = new AbortController();
  dismiss.addEventListener("click", () => { stop.abort(); row.remove(); });
  const fail = (text) => {
    state.textContent = text;
    state.classList.add("bad");
    bar.hidden = true;
    dismiss.hidden = false;
    announce(`${name.textContent}: ${text}`);
  };

  waiting.push(async () => {
    state.textContent = "Uploading";
    const id = crypto.randomUUID();
    try {
      const job = await persist(() => upload(file, sent, id, (share) => {
        bar.value = share;
        if (share === 1) state.textContent = "Being stored";
      }, stop.signal));
      bar.removeAttribute("value");
      rows.set(job.id, (news) => {
        state.textContent = stateWord(news.status);
        if (news.status === "failed") fail(news.error?.message || "It failed.");
        else if (news.status === "complete") setTimeout(() => row.remove(), 2500);
        if (news.completedAt) rows.delete(job.id);
        if (news.completedAt) { bar.max = 1; bar.value = 1; }
      });
      tellTransfer(onJob(job));
    } catch (error) {
      if (error.name === "AbortError") return;
      fail(error instanceof Problem ? error.message : "It could not be read.");
    }
  });
  work();
}

async function work() {
  if (running >= PARALLEL || !waiting.length) return;
  running += 1;
  try {
    await waiting.shift()();
  } finally {
    running -= 1;
    work();
  }
}

/** Try again what may pass. */
async function persist(attempt) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!MAY_PASS.has(error.status) || tried === TRIES) throw error;
      await new Promise((resolve) => { setTimeout(resolve, 1000 * 2 ** tried); });
    }
  }
}
