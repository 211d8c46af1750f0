// The jobs of this account, newest first, as they are: pages are asked for, news are followed.

import { deleteJob, follow, listJobs, Problem } from "./api.js";
import { Card, isFinished, isNewer } from "./card.js";
import { openDetails, refreshDetails, startDetails } from "./details.js";
import { announce, announceEnd, toast } from "./messages.js";
import { nameOf } from "./outputs.js";
import { refreshTransfers, tellTransfer } from "./uploads.js";
import { count } from "./words.js";

const PAGE = "/jobs?limit=24";
const UNDO_MILLISECONDS = 8000;
const LONGEST_PAUSE_MILLISECONDS = 30_000; // between two tries while the service does not answer

const list = document.getElementById("gallery");
const title = document.getElementById("gallery-title");
const empty = document.getElementById("empty");
const error = document.getElementById("gallery-error");
const more = document.getElementById("more");
const filter = document.getElementById("batch");

const shown = new Map(); // job id -> Card
const deleting = new Map(); // job id -> toast
let next = null;
let batch = null; // the id of the one that is shown alone
let lastEvent = null; // the id of the last event that was seen
let following = false;

/** Begin; raises Problem when the first page cannot be had. */
export async function startGallery() {
  more.addEventListener("click", showMore);
  // Whoever leaves meant what was deleted.
  addEventListener("pagehide", () => deleting.forEach((waiting) => waiting.end(false)));
  document.getElementById("show-all").addEventListener("click", () => showBatch(null));
  startDetails(neighbours, remove);
  await reload();
}

/** Everything anew: another account, perhaps. */
export async function reload() {
  lastEvent = (await follow(null)).id; // before the list, so that nothing falls between
  const page = await listJobs(batch ? `${PAGE}&batch=${encodeURIComponent(batch)}` : PAGE);
  if (!following) keepUp();
  for (const card of shown.values()) card.remove();
  shown.clear();
  apply(page);
}

/** A job that was just made; as it is by now. */
export function addJob(job) {
  if (belongs(job)) show(job);
  return shown.get(job.id)?.job || job;
}

async function showBatch(id) {
  batch = id;
  filter.hidden = id === null;
  try {
    await reload();
    announce(id === null ? "All pictures are shown." : "The batch is shown alone.");
  } catch (problem) {
    tellError(problem);
  }
  title.focus();
}

function belongs(job) {
  return batch === null || job.batch?.id === batch;
}

async function showMore() {
  more.setAttribute("aria-disabled", "true");
  try {
    const page = await listJobs(next);
    const first = page.jobs.find((job) => !shown.has(job.id));
    apply(page);
    if (first) shown.get(first.id).focus();
    announce(`${count(shown.size, "picture")} shown.`);
  } catch (problem) {
    tellError(problem);
  }
  more.removeAttribute("aria-disabled");
}

function apply(page) {
  for (const job of page.jobs) show(job);
  next = page.next;
  more.hidden = next === null;
  error.hidden = true;
  empty.hidden = shown.size > 0;
}

function tellError(problem) {
  if (!(problem instanceof Problem)) throw problem;
  error.textContent = problem.message;
  error.hidden = problem.status === 401; // the form to sign in says that
}

function show(job) {
  const known = shown.get(job.id);
  if (known) {
    if (isFinished(known.job) && !isFinished(job)) return; // news overtook an answer
    known.fill(job);
    known.look();
    refreshDetails(known);
    return;
  }
  const card = new Card(job, { onDetails: openDetails, onDelete: remove, onBatch: () => showBatch(job.batch.id) });
  shown.set(job.id, card);
  list.insertBefore(card.element, firstOlder(job));
  empty.hidden = true;
}

/** Where a job belongs; news and pages both come nearly in order, so that the end and the beginning are looked at first. */
function firstOlder(job) {
  const cards = [...list.children];
  const jobOf = (element) => shown.get(element.dataset.job)?.job;
  if (!cards.length || !isNewer(job, jobOf(cards.at(-1)))) return null;
  return cards.find((element) => isNewer(job, jobOf(element)));
}

function neighbours(card) {
  const cards = [...shown.values()].filter((each) => !deleting.has(each.job.id)).sort((one, other) => (isNewer(one.job, other.job) ? -1 : 1));
  const place = cards.indexOf(card);
  return [cards[place - 1] || null, cards[place + 1] || null];
}

function remove(card) {
  const { id } = card.job;
  const neighbour = neighbours(card).findLast(Boolean);
  card.element.classList.add("leaving");
  deleting.set(id, toast(`${nameOf(card.job)} is deleted.`, {
    undo: "Undo",
    milliseconds: UNDO_MILLISECONDS,
    onEnd: (undone, hadFocus) => {
      deleting.delete(id);
      if (undone) {
        card.element.classList.remove("leaving");
        card.focus(".delete");
        return;
      }
      if (hadFocus) neighbour?.element.isConnected ? neighbour.focus(".delete") : title.focus();
      reallyRemove(card);
    },
  }));
}

async function reallyRemove(card) {
  try {
    await deleteJob(card.job.id);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status !== 404) {
      card.element.classList.remove("leaving");
      toast(`${nameOf(card.job)} could not be deleted. ${problem.message}`, { milliseconds: 10_000 });
      return;
    }
  }
  forget(card);
}

function forget(card) {
  shown.delete(card.job.id);
  card.remove();
  refreshDetails(card);
  empty.hidden = shown.size > 0;
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
      tellError(problem);
      if (problem.status === 401) {
        following = false;
        return;
      }
      pause = problem.retryAfter ? problem.retryAfter * 1000 : Math.min(LONGEST_PAUSE_MILLISECONDS, pause * 2);
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
    await refreshTransfers();
  } else if (type === "deleted") {
    const known = shown.get(data.id);
    if (known && !deleting.has(data.id)) forget(known);
  } else {
    tellTransfer(data);
    const known = shown.get(data.id);
    if (known && isFinished(data) && !isFinished(known.job)) announceEnd(nameOf(data), data.status);
    // One that is older than all on the page comes with its own page.
    const oldest = shown.get(list.lastElementChild?.dataset.job)?.job;
    if (known || (belongs(data) && (!oldest || next === null || isNewer(data, oldest)))) show(data);
  }
}
