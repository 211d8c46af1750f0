// All about one job, in a dialog: every thumbnail, what it was made from, and how.

import { pictureUrl } from "./api.js";
import { isFinished } from "./card.js";
import { showMessagesIn } from "./messages.js";
import { inWords, nameOf, outputRow, save, showable } from "./outputs.js";
import { key } from "./session.js";
import { bytes, count, dimensions, formatWord, moment, stateWord } from "./words.js";

const dialog = document.getElementById("details");
const image = dialog.querySelector("img");
const linkTime = document.getElementById("link-time");
const original = document.getElementById("original");

let card = null;
let neighbours = () => [null, null];
let onDelete = () => {};

/** `around(card)` gives the cards before and after; `remove(card)` is called when people ask for that. */
export function startDetails(around, remove) {
  neighbours = around;
  onDelete = remove;
  dialog.addEventListener("close", () => {
    showMessagesIn(document.body);
    forgetImage();
    const was = card;
    card = null;
    if (was?.element.isConnected) was.focus();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); }); // beside it
  dialog.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select")) return;
    if (event.key === "ArrowLeft") step(0);
    if (event.key === "ArrowRight") step(1);
  });
  part(".close").addEventListener("click", () => dialog.close());
  part(".previous").addEventListener("click", () => step(0));
  part(".next").addEventListener("click", () => step(1));
  part(".delete").addEventListener("click", () => {
    const gone = card;
    dialog.close();
    onDelete(gone);
  });
  original.addEventListener("click", (event) => {
    if (!key()) return;
    event.preventDefault();
    inWords(() => save(card.job.imagePath, nameOf(card.job)));
  });
}

/** Show the job of this card. */
export function openDetails(asked) {
  card = asked;
  fill();
  showMessagesIn(dialog);
  dialog.showModal();
  part("h2").focus();
}

/** The job of this card is another by now, or it is gone. */
export function refreshDetails(changed) {
  if (changed !== card) return;
  if (changed.element.isConnected) fill();
  else dialog.close();
}

function step(direction) {
  const next = neighbours(card)[direction];
  if (!next) return;
  card = next;
  fill();
  part("h2").focus();
}

function fill() {
  const { job } = card;
  part("h2").textContent = nameOf(job);
  part(".delete").setAttribute("aria-label", `Delete ${nameOf(job)}`);
  part(".state").textContent = `${stateWord(job.status)}${job.error ? `: ${job.error.message}` : ""}`;
  part(".state").classList.toggle("error", Boolean(job.error));
  part(".facts").replaceChildren(...facts(job));
  const outputs = job.outputs.map((output) => outputRow(job, output, () => linkTime.value || null));
  part(".outputs").replaceChildren(...outputs);
  part(".link-time").hidden = !key() || !outputs.length;
  original.href = job.imagePath;
  original.download = nameOf(job);
  const [before, after] = neighbours(card);
  part(".previous").disabled = !before;
  part(".next").disabled = !after;
  showImage(job);
}

async function showImage(job) {
  const output = [...job.outputs].sort((one, other) => other.width - one.width).find((each) => showable({ outputs: [each] }));
  forgetImage();
  image.hidden = !output;
  if (!output) return;
  image.alt = `Thumbnail ${dimensions(output)} of ${nameOf(job)}`;
  image.width = output.width;
  image.height = output.height;
  await inWords(async () => {
    const url = await pictureUrl(output.path);
    if (card?.job === job) image.src = url;
    else if (url.startsWith("blob:")) URL.revokeObjectURL(url);
  });
}

function forgetImage() {
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.removeAttribute("src");
}

function facts(job) {
  const rows = [["Uploaded", moment(job.createdAt)]];
  if (job.source) {
    const frames = job.source.frames > 1 ? `, ${count(job.source.frames, "frame")}` : "";
    rows.push(["Original", `${dimensions(job.source)} ${formatWord(job.source.format)}, ${bytes(job.source.bytes)}${frames}`]);
  }
  if (job.batch) rows.push(["Batch", `${job.batch.index + 1} of ${job.batch.size}`]);
  if (!isFinished(job) || !job.outputs.length) rows.push(["Asked for", job.options.map((option) => option.name).join(", ")]);
  rows.push(["Job", job.id]);
  return rows.flatMap(([term, text]) => {
    const [title, words] = [document.createElement("dt"), document.createElement("dd")];
    title.textContent = term;
    words.textContent = text;
    return [title, words];
  });
}

function part(selector) {
  return dialog.querySelector(selector);
}
