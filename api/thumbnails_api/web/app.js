// The page: signs in where that is needed, then lets uploads and gallery run.

import { access, listPresets, Problem } from "./api.js";
import { startChooser } from "./chooser.js";
import { addJob, reload, startGallery } from "./gallery.js";
import { announce } from "./messages.js";
import { offerPresets, startOptions } from "./options.js";
import { forget, keep, key, onChangeElsewhere, staysOnDevice } from "./session.js";
import { startUploads, stopUploads, uploadAll } from "./uploads.js";

const signIn = document.getElementById("sign-in");
const signOut = document.getElementById("sign-out");
const show = document.getElementById("show-key");
const refusal = signIn.querySelector(".error");
const workplace = document.getElementById("workplace");
const galleryError = document.getElementById("gallery-error");

/** Without a key at the beginning, with one that is wrong, with one that was revoked meanwhile. */
function askForKey() {
  if (!signIn.hidden && !key()) return;
  refuse(key() ? "The service does not take this key. It may be mistyped, or revoked." : "");
  forget();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  workplace.hidden = true;
  signOut.hidden = true;
  signIn.hidden = false;
  signIn.elements.key.focus();
}

function refuse(words) {
  refusal.hidden = !words;
  refusal.textContent = words;
}

async function open(load) {
  const signingIn = !signIn.hidden;
  try {
    await load();
    offerPresets(await listPresets());
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) return;
    if (signingIn) { // the key was not tried: too many wrong ones, or nobody there
      refuse(problem.message);
      forget();
      return;
    }
    galleryError.textContent = problem.message;
    galleryError.hidden = false;
  }
  signIn.hidden = true;
  workplace.hidden = false;
  signOut.hidden = !key();
  signOut.title = staysOnDevice() ? "The key is kept on this device until you sign out." : "The key is kept until this tab is closed.";
  if (signingIn) {
    document.getElementById("files").focus();
    announce("Signed in.");
  }
}

function showKey(visible) {
  signIn.elements.key.type = visible ? "text" : "password";
  show.setAttribute("aria-pressed", String(visible));
}

access.addEventListener("signed-out", askForKey);
show.addEventListener("click", () => showKey(signIn.elements.key.type === "password"));
signIn.addEventListener("submit", (event) => {
  event.preventDefault();
  showKey(false);
  keep(signIn.elements.key.value.trim(), signIn.elements.stay.checked);
  signIn.reset();
  open(reload);
});
signOut.addEventListener("click", () => {
  stopUploads();
  forget();
  location.reload();
});
onChangeElsewhere(() => location.reload());

startOptions();
startChooser(() => !workplace.hidden, uploadAll);
startUploads(addJob);
open(startGallery);
