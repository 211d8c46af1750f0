// One job in the gallery.

import { pictureUrl, Problem } from "./api.js";
import { nameOf, outputRow, showable } from "./outputs.js";
import { bytes, dimensions, moment, stateWord } from "./words.js";

const ROWS = 3; // of more thumbnails, the details have all
const FINISHED = new Set(["complete", "failed", "cancelled"]);

const template = document.getElementById("card-template");
// Thumbnails are fetched when they come into view; `loading=lazy` cannot do that for those that need a key.
const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) cards.get(entry.target)?.load();
  }
}, { rootMargin: "50%" });
const cards = new WeakMap(); // element -> Card

export function isFinished(job) {
  return FINISHED.has(job.status);
}

/** Whether a job comes before another in the gallery: newest first, as `GET /jobs` has them. */
export function isNewer(job, other) {
  return job.createdAt === other.createdAt ? job.id > other.id : job.createdAt > other.createdAt;
}

export class Card {
  #image;

  /** `onDetails(card)`, `onDelete(card)` and `onBatch(card)` are called when people ask for that. */
  constructor(job, { onDetails, onDelete, onBatch }) {
    this.element = template.content.firstElementChild.cloneNode(true);
    this.#image = this.element.querySelector("img");
    this.element.querySelector(".delete").addEventListener("click", () => onDelete(this));
    this.element.querySelector(".batch").addEventListener("click", () => onBatch(this));
    for (const selector of [".details", ".frame"]) {
      this.element.querySelector(selector).addEventListener("click", () => onDetails(this));
    }
    this.element.dataset.job = job.id;
    cards.set(this.element, this);
    this.fill(job);
    inView.observe(this.element);
  }

  /** Show the job as it is now. */
  fill(job) {
    this.job = job;
    const part = (selector) => this.element.querySelector(selector);
    const name = nameOf(job);
    part(".name").textContent = name;
    part(".delete").setAttribute("aria-label", `Delete ${name}`);
    part(".details").setAttribute("aria-label", `Details of ${name}`);
    part(".frame").classList.toggle("waiting", !isFinished(job));
    part(".meta").textContent = [
      job.status === "complete" ? "" : stateWord(job.status),
      job.source ? `${dimensions(job.source)}, ${bytes(job.source.bytes)}` : "",
      moment(job.createdAt),
    ].filter(Boolean).join(" \u00b7 ");
    part(".part").hidden = !job.batch;
    if (job.batch) part(".batch").textContent = `${job.batch.index + 1} of ${job.batch.size} in a batch`;
    part(".error").hidden = !job.error;
    part(".error").textContent = job.error ? job.error.message : "";
    part(".outputs").replaceChildren(...job.outputs.slice(0, ROWS).map((output) => outputRow(job, output)));
    part(".details").textContent = job.outputs.length > ROWS ? `All ${job.outputs.length} thumbnails` : "Details";
    this.#image.hidden = !showable(job);
  }

  /** Fetch the thumbnail, once. */
  async load() {
    const output = showable(this.job);
    if (!output) return;
    inView.unobserve(this.element);
    this.#image.alt = `Thumbnail of ${nameOf(this.job)}`;
    try {
      this.#image.src = await pictureUrl(output.path);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      this.#image.alt = problem.message;
    }
  }

  /** Fetch it when somebody looks, now that there is one. */
  look() {
    inView.unobserve(this.element);
    inView.observe(this.element);
  }

  focus(selector = ".details") {
    this.element.querySelector(selector).focus();
  }

  remove() {
    inView.unobserve(this.element);
    if (this.#image.src.startsWith("blob:")) URL.revokeObjectURL(this.#image.src);
    this.element.remove();
  }
}
