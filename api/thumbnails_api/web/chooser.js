// The chosen pictures, one of which is shown in the previews: looked through, left out, then handed on.

import { listenForFiles } from "./files.js";
import { announce } from "./messages.js";
import { showPicture, uploadFields } from "./options.js";
import { loadPicture, releasePicture } from "./preview.js";
import { bytes, count } from "./words.js";

const drop = document.getElementById("drop");
const files = document.getElementById("files");
const form = document.getElementById("upload");
const start = document.getElementById("start");
const title = document.getElementById("options-title");
const which = document.getElementById("which");
const [previous, following, leaveOut] = ["previous", "next", "leave-out"].map((id) => document.getElementById(id));

let chosen = [];
let index = 0;
let shown = null;
let onReady = () => {};

/** Begin to listen. `onUpload(files, fields)` is called when all is said; `mayChoose()` says whether it is time to. */
export function startChooser(mayChoose, onUpload) {
  onReady = onUpload;
  document.getElementById("choose-folder").hidden = !("webkitdirectory" in files);
  listenForFiles(drop, (found) => { if (mayChoose()) choose(found); });
  previous.addEventListener("click", () => look(index - 1));
  following.addEventListener("click", () => look(index + 1));
  leaveOut.addEventListener("click", () => {
    const [gone] = chosen.splice(index, 1);
    if (!chosen.length) { close(); return; }
    announce(`${gone.name || "The picture"} is left out.`);
    look(Math.min(index, chosen.length - 1));
  });
  document.getElementById("cancel").addEventListener("click", close);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const fields = uploadFields();
    const ready = chosen;
    close();
    onReady(ready, fields);
  });
}

function choose(found) {
  if (!found.length) {
    announce("No picture is there.");
    title.textContent = "No picture is there.";
    return;
  }
  const first = chosen.length;
  chosen = [...chosen, ...found];
  form.hidden = false;
  look(first);
  start.focus();
  announce(`${count(chosen.length, "picture")} chosen. Choose options, then upload.`);
}

function close() {
  chosen = [];
  form.hidden = true;
  show(null);
  files.focus();
}

async function look(position) {
  index = position;
  const file = chosen[index];
  title.textContent = `${count(chosen.length, "picture")}, ${bytes(chosen.reduce((sum, each) => sum + each.size, 0))}`;
  start.textContent = `Upload ${count(chosen.length, "picture")}`;
  which.querySelector("bdi").textContent = file.name || "pasted picture";
  which.querySelector("span").textContent = chosen.length > 1 ? `${index + 1} of ${chosen.length}` : "";
  const hadFocus = document.activeElement;
  previous.hidden = following.hidden = leaveOut.hidden = chosen.length < 2;
  previous.disabled = index === 0;
  following.disabled = index === chosen.length - 1;
  if (hadFocus === previous && previous.disabled) following.focus();
  else if (hadFocus === following && following.disabled) previous.focus();
  else if (hadFocus === leaveOut && leaveOut.hidden) start.focus();
  const picture = await loadPicture(file);
  if (chosen[index] === file) show(picture);
  else releasePicture(picture);
}

function show(picture) {
  if (shown) releasePicture(shown);
  shown = picture;
  showPicture(picture);
}
