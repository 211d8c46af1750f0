// The thumbnails of a job as rows: how large each is, with a download and a link that can be given away.

import { listLinks, pictureUrl, Problem } from "./api.js";
import { toast } from "./messages.js";
import { key } from "./session.js";
import { bytes, dimensions, formatWord, moment } from "./words.js";

const LINK_SHOWN_MILLISECONDS = 20_000;

const template = document.getElementById("output-template");

/** What the picture is called. */
export function nameOf(job) {
  return job.fileName || job.id;
}

/** The thumbnail that a browser shows best: of those of `name`, or of all. */
export function showable(job) {
  return job.outputs.find((output) => output.format !== "tiff") || null;
}

/** A row. `linkSeconds()` says how long a signed link shall last (null: as the service likes). */
export function outputRow(job, output, linkSeconds = () => null) {
  const row = template.content.firstElementChild.cloneNode(true);
  const name = nameOf(job);
  const several = job.outputs.some((other) => other.name !== output.name);
  const size = `${dimensions(output)} ${formatWord(output.format)}`;
  row.querySelector(".size").textContent = `${several ? `${output.name}: ` : ""}${size}, ${bytes(output.bytes)}`;
  const link = row.querySelector(".download");
  link.href = output.path;
  link.download = `${name.replace(/\.[^.]*$/, "")}${several ? `-${output.name}` : ""}-${output.width}x${output.height}.${output.format}`;
  link.setAttribute("aria-label", `Download ${name}, ${size}`);
  link.addEventListener("click", (event) => {
    if (!key()) return;
    event.preventDefault();
    inWords(() => save(output.path, link.download));
  });
  const copy = row.querySelector(".copy");
  copy.setAttribute("aria-label", `Copy the link of ${name}, ${size}`);
  copy.addEventListener("click", () => inWords(() => copyLink(job, output, linkSeconds())));
  return row;
}

/** Save a file that a link alone cannot have, because a key has to be shown. */
export async function save(path, fileName) {
  const copy = document.createElement("a");
  copy.href = await pictureUrl(path);
  copy.download = fileName;
  copy.click();
  setTimeout(() => URL.revokeObjectURL(copy.href), 60_000);
}

/** What goes wrong is said, not thrown. */
export async function inWords(act) {
  try {
    await act();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    toast(problem.message, { milliseconds: 10_000 });
  }
}

async function copyLink(job, output, seconds) {
  const { path, words } = key() ? await signed(job, output, seconds) : { path: output.path, words: "The link is copied." };
  const url = new URL(path, location.href).href;
  try {
    await navigator.clipboard.writeText(url);
    toast(words);
  } catch {
    toast(`The link: ${url}`, { milliseconds: LINK_SHOWN_MILLISECONDS });
  }
}

/** An address that needs no key, for a while. */
async function signed(job, output, seconds) {
  const links = await listLinks(job.id, seconds);
  const found = links?.outputs.filter((each) => each.name === output.name) || [];
  const link = found.find((each) => each.format === output.format) || found[0];
  if (!link) return { path: output.path, words: "The link is copied. It works only with an API key." };
  return { path: link.path, words: `The link is copied. Whoever has it sees this thumbnail until ${moment(links.expiresAt)}.` };
}
