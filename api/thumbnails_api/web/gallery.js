// The jobs of this account, newest first, each with its thumbnails.

import { deleteJob, getJob, key, listJobs, pictureUrl, Problem } from "./api.js";
import { announce, toast } from "./messages.js";
import { tellTransfer } from "./uploads.js";
import { bytes, moment, stateWord } from "./words.js";

const PAGE = "/jobs?limit=24";
const FINISHED = new Set(["complete", "failed", "cancelled"]);
const UNDO_MILLISECONDS = 8000;
const [FASTEST, SLOWEST] = [300, 5000]; // milliseconds between two looks at what is unfinished

const list = document.getElementById("gallery");
const empty = document.getElementById("empty");
const error = document.getElementById("gallery-error");
const more = document.getElementById("more");
const cardTemplate = document.getElementById("card-template");
const outputTemplate = document.getElementById("output-template");

const shown = new Map(); // job id -> {card, job}
const deleting = new Map(); // job id -> toast
let next = null;
let timer = null;
let pause = FASTEST;

/** Show the first page; raises Problem when it cannot be had. */
export async function startGallery() {
  more.addEventListener("click", () => showPage(next, true));
  // Whoever leaves meant what was deleted.
  addEventListener("pagehide", () => deleting.forEach((waiting) => waiting.end(false)));
  await reload();
}

/** Everything anew: another account, perhaps. */
export async function reload() {
  const page = await listJobs(PAGE);
  for (const { card } of shown.values()) forget(card);
  shown.clear();
  apply(page);
}

/** A job that was just made. */
export function addJob(job) {
  show(job, true);
  look(FASTEST);
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
  if (page.jobs.some((job) => !FINISHED.has(job.status))) look(FASTEST);
}

function tellError(problem) {
  if (!(problem instanceof Problem)) throw problem;
  error.textContent = problem.message;
  error.hidden = false;
}

function show(job, first) {
  const known = shown.get(job.id);
  if (known) {
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

/** Look at what is unfinished after `milliseconds`, then less and less often while nothing moves. */
function look(milliseconds) {
  pause = milliseconds;
  clearTimeout(timer);
  timer = setTimeout(refresh, pause);
}

async function refresh() {
  const unfinished = [...shown.values()].filter(({ job }) => !FINISHED.has(job.status));
  if (!unfinished.length) return;
  let moved = false;
  try {
    const jobs = unfinished.length > 4 ? (await listJobs("/jobs?limit=100")).jobs : await Promise.all(unfinished.map(({ job }) => getJob(job.id)));
    for (const job of jobs) {
      const known = shown.get(job.id);
      if (!known) continue;
      moved ||= known.job.status !== job.status;
      if (FINISHED.has(job.status) && !FINISHED.has(known.job.status)) {
        announce(`${job.fileName || "A picture"}: ${stateWord(job.status)}.`);
        tellTransfer(job);
      }
      show(job, false);
    }
    error.hidden = true;
  } catch (problem) {
    if (problem.status === 404) await reload();
    else tellError(problem);
  }
  look(moved ? FASTEST : Math.min(SLOWEST, pause * 1.5));
}
