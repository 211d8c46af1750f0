// The jobs of this account, newest first, each with its thumbnails.

import { deleteJob, follow, key, listJobs, pictureUrl, Problem } from "./api.js";
import { announce, toast } from "./messages.js";
import { tellTransfer } from "./uploads.js";
import { bytes, moment, stateWord } from "./words.js";

const PAGE = "/jobs?limit=24";
const FINISHED = new Set(["complete", "failed", "cancelled"]);
const UNDO_MILLISECONDS = 8000;
const LONGEST_PAUSE_MILLISECONDS = 30_000; // between two tries while the service does not answer

const list = document.getElementById("gallery");
const empty = document.getElementById("empty");
const error = document.getElementById("gallery-error");
const more = document.getElementById("more");
const cardTemplate = document.getElementById("card-template");
const outputTemplate = document.getElementById("output-template");

const shown = new Map(); // job id -> {card, job}
const deleting = new Map(); // job id -> toast
let next = null;
let lastEvent = null; // the id of the last event that was seen
let following = false;

/** Show the first page; raises Problem when it cannot be had. */
export async function startGallery() {
  more.addEventListener("click", () => showPage(next, true));
  // Whoever leaves meant what was deleted.
  addEventListener("pagehide", () => deleting.forEach((waiting) => waiting.end(false)));
  await reload();
}

/** Everything anew: another account, perhaps. */
export async function reload() {
  lastEvent = (await follow(null)).id; // before the list, so that nothing falls between
  const page = await listJobs(PAGE);
  if (!following) keepUp();
  for (const { card } of shown.values()) forget(card);
  shown.clear();
  apply(page);
}

/** A job that was just made; as it is by now. */
export function addJob(job) {
  show(job, true);
  return shown.get(job.id).job;
}

async function showPage(path, focus) {
  try {
    error.hidden = true;
    const page = await listJobs(path);
    const first = page.jobs.find((job) => !shown.has(job.id));
    apply(page);
    if (focus && first) shown.get(first.id).card.querySelector("a, button").focus();
    announce(`${shown.size} pictures are shown.`);
  } catch (problem) {
    tellError(problem);
  }
}

function apply(page) {
  for (const job of page.jobs) show(job, false);
  next = page.next;
  more.hidden = next === null;
  error.hidden = true;
  empty.hidden = shown.size > 0;
}

function tellError(problem) {
  if (!(problem instanceof Problem)) throw problem;
  error.textContent = problem.message;
  error.hidden = false;
}

function show(job, first) {
  const known = shown.get(job.id);
  if (known) {
    if (FINISHED.has(known.job.status) && !FINISHED.has(job.status)) return; // news overtook an answer
    if (JSON.stringify(known.job) === JSON.stringify(job)) return;
    known.job = job;
    fill(known.card, job);
    return;
  }
  const card = cardTemplate.content.firstElementChild.cloneNode(true);
  card.querySelector(".delete").addEventListener("click", () => remove(job.id));
  shown.set(job.id, { card, job });
  fill(card, job);
  if (first) list.prepend(card);
  else list.append(card);
  empty.hidden = true;
}

function fill(card, job) {
  const name = job.fileName || job.id;
  const frame = card.querySelector(".frame");
  const image = card.querySelector("img");
  card.querySelector(".name").textContent = name;
  card.querySelector(".delete").setAttribute("aria-label", `Delete ${name}`);
  frame.classList.toggle("waiting", !FINISHED.has(job.status));
  const source = job.source ? `${job.source.width} × ${job.source.height}, ${bytes(job.source.bytes)} · ` : "";
  const state = job.status === "complete" ? "" : `${stateWord(job.status)} · `;
  card.querySelector(".meta").textContent = `${state}${source}${moment(job.createdAt)}`;
  const reason = card.querySelector(".error");
  reason.hidden = !job.error;
  reason.textContent = job.error ? job.error.message : "";
  image.hidden = job.status !== "complete";
  if (job.status === "complete" && !image.src) {
    image.alt = `Thumbnail of ${name}`;
    load(image, job);
  }
  card.querySelector(".outputs").replaceChildren(...job.outputs.map((output) => outputRow(output, name, job)));
}

async function load(image, job) {
  const output = job.outputs.find((each) => each.format !== "tiff") || job.outputs[0];
  try {
    image.src = await pictureUrl(output.path);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    image.alt = problem.message;
  }
}

function outputRow(output, name, job) {
  const row = outputTemplate.content.firstElementChild.cloneNode(true);
  const label = job.outputs.length > 1 && output.name !== "default" ? `${output.name}: ` : "";
  const size = `${output.width} × ${output.height} ${output.format.toUpperCase()}`;
  row.querySelector(".size").textContent = `${label}${size}, ${bytes(output.bytes)}`;
  const link = row.querySelector(".download");
  link.href = output.path;
  link.download = `${name.replace(/\.[^.]*$/, "")}-${output.width}x${output.height}.${output.format}`;
  link.setAttribute("aria-label", `Download ${name}, ${size}`);
  if (key()) link.addEventListener("click", (event) => { event.preventDefault(); saveCopy(link); });
  const copy = row.querySelector(".copy");
  copy.setAttribute("aria-label", `Copy the link of ${name}, ${size}`);
  copy.addEventListener("click", async () => {
    const url = new URL(output.path, location.href).href;
    try {
      await navigator.clipboard.writeText(url);
      toast("The link is copied.");
    } catch {
      toast(`The link: ${url}`, { milliseconds: 20000 });
    }
  });
  return row;
}

/** A link cannot show the key; so the file is fetched first. */
async function saveCopy(link) {
  try {
    const copy = document.createElement("a");
    copy.href = await pictureUrl(link.getAttribute("href"));
    copy.download = link.download;
    copy.click();
    setTimeout(() => URL.revokeObjectURL(copy.href), 60_000);
  } catch (problem) {
    tellError(problem);
  }
}

function remove(id) {
  const { card, job } = shown.get(id);
  const neighbour = card.nextElementSibling || card.previousElementSibling;
  card.classList.add("leaving");
  (neighbour?.querySelector(".delete") || document.getElementById("gallery-title")).focus();
  deleting.set(id, toast(`${job.fileName || id} is deleted.`, {
    undo: "Undo",
    milliseconds: UNDO_MILLISECONDS,
    onEnd: (undone) => {
      deleting.delete(id);
      if (undone) {
        card.classList.remove("leaving");
        card.querySelector(".delete").focus();
      } else {
        reallyRemove(id, card);
      }
    },
  }));
}

async function reallyRemove(id, card) {
  try {
    await deleteJob(id);
  } catch (problem) {
    if (problem.status !== 404) {
      card.classList.remove("leaving");
      toast(`It could not be deleted: ${problem.message}`, { milliseconds: 10_000 });
      return;
    }
  }
  shown.delete(id);
  forget(card);
  empty.hidden = shown.size > 0;
}

function forget(card) {
  const image = card.querySelector("img");
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  card.remove();
}

/** Follow what happens, for as long as the page is open. */
async function keepUp() {
  following = true;
  let pause = 1000;
  for (;;) {
    try {
      const news = await follow(lastEvent);
      lastEvent = news.id;
      for (const event of news.events) await take(event);
      error.hidden = true;
      pause = news.retry;
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.status === 401) {
        following = false;
        return;
      }
      tellError(problem);
      pause = Math.min(LONGEST_PAUSE_MILLISECONDS, pause * 2);
    }
    await seen();
    await new Promise((resolve) => { setTimeout(resolve, pause); });
  }
}

/** Until somebody looks at the page. */
function seen() {
  if (!document.hidden) return null;
  return new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });
}

async function take({ type, data }) {
  if (type === "reset") {
    await reload();
  } else if (type === "deleted") {
    const known = shown.get(data.id);
    if (!known || deleting.has(data.id)) return;
    shown.delete(data.id);
    forget(known.card);
    empty.hidden = shown.size > 0;
  } else {
    tellTransfer(data);
    const known = shown.get(data.id);
    if (known && FINISHED.has(data.status) && !FINISHED.has(known.job.status)) {
      announce(`${data.fileName || "A picture"}: ${stateWord(data.status)}.`);
    }
    // One that is older than all on the page comes with its own page.
    const newest = shown.values().next().value;
    if (known || !newest || data.createdAt >= newest.job.createdAt) show(data, true);
  }
}
