// The page: signs in where that is needed, then lets uploads and gallery run.

import { key, Problem, setKey } from "./api.js";
import { addJob, reload, startGallery } from "./gallery.js";
import { startUploads } from "./uploads.js";

const signIn = document.getElementById("sign-in");
const signOut = document.getElementById("sign-out");
const workplace = document.getElementById("workplace");
const galleryError = document.getElementById("gallery-error");

function askForKey(problem) {
  workplace.hidden = true;
  signOut.hidden = true;
  signIn.hidden = false;
  const line = signIn.querySelector(".error");
  line.hidden = !key();
  line.textContent = key() ? problem.message : "";
  setKey(null);
  signIn.elements.key.focus();
}

async function open(load) {
  try {
    await load();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) return askForKey(problem);
    galleryError.textContent = problem.message;
    galleryError.hidden = false;
  }
  signIn.hidden = true;
  workplace.hidden = false;
  signOut.hidden = !key();
}

signIn.addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(signIn.elements.key.value.trim());
  signIn.reset();
  open(reload);
});
signOut.addEventListener("click", () => { setKey(null); location.reload(); });

startUploads(addJob);
open(startGallery);
