// Short messages: spoken by screen readers, and shown, with something to undo.

import { count, stateWord } from "./words.js";

const announcer = document.getElementById("announcer");
const toasts = document.getElementById("toasts");
const NAMED = 3; // ends of jobs that are told one by one; of more, how many
const GATHERING_MILLISECONDS = 500;

const lines = [];
const ended = [];
let timer = null;

/** Say it, without showing it: what it is about is on the screen already. */
export function announce(text) {
  lines.push(text);
  timer ??= setTimeout(speak, GATHERING_MILLISECONDS);
}

/** Say how a picture's job ended; of many at once, only how many. */
export function announceEnd(name, status) {
  ended.push([name, status]);
  timer ??= setTimeout(speak, GATHERING_MILLISECONDS);
}

function speak() {
  timer = null;
  const said = lines.splice(0);
  const ends = ended.splice(0);
  if (ends.length <= NAMED) {
    said.push(...ends.map(([name, status]) => `${name}: ${stateWord(status)}.`));
  } else {
    const done = ends.filter(([, status]) => status === "complete").length;
    said.push(`${count(done, "picture")} done${done < ends.length ? `, ${ends.length - done} failed` : ""}.`);
  }
  announcer.textContent = "";
  requestAnimationFrame(() => { announcer.textContent = said.join(" "); });
}

/** What is outside of a modal dialog is neither heard nor in reach: messages go where people are. */
export function showMessagesIn(place) {
  place.append(toasts, announcer);
}

/**
 * Show it for some seconds, longer while the pointer is on it or the keyboard in it. `undo` gets a button, which has
 * the focus at once: whoever has no pointer need not look for it. `onEnd(undone, hadFocus)`.
 */
export function toast(text, { undo = null, milliseconds = 5000, onEnd = () => {} } = {}) {
  const line = document.createElement("div");
  line.className = "toast";
  const words = document.createElement("span");
  words.textContent = text;
  words.dir = "auto";
  line.append(words);
  let waiting = null;
  const end = (undone) => {
    clearTimeout(waiting);
    if (!line.isConnected) return;
    const hadFocus = line.contains(document.activeElement);
    line.remove();
    onEnd(undone, hadFocus);
  };
  const hold = () => clearTimeout(waiting);
  const wait = () => {
    hold();
    if (!line.matches(":hover") && !line.querySelector(":focus-visible")) waiting = setTimeout(() => end(false), milliseconds);
  };
  const button = (label, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "quiet";
    made.textContent = label;
    made.addEventListener("click", act);
    line.append(made);
    return made;
  };
  const undoing = undo && button(undo, () => end(true));
  button("Dismiss", () => end(false));
  for (const event of ["pointerenter", "focusin"]) line.addEventListener(event, hold);
  line.addEventListener("pointerleave", wait);
  line.addEventListener("focusout", () => setTimeout(wait));
  toasts.append(line);
  announce(text);
  undoing?.focus();
  wait();
  return { end };
}
