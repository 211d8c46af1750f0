// Short messages: spoken by screen readers, and shown, with something to undo.

const announcer = document.getElementById("announcer");
const toasts = document.getElementById("toasts");

/** Say it, without showing it: what it is about is on the screen already. */
export function announce(text) {
  announcer.textContent = "";
  requestAnimationFrame(() => { announcer.textContent = text; });
}

/** Show it for some seconds, longer while it has the pointer or the focus. `undo` gets a button. */
export function toast(text, { undo = null, milliseconds = 5000, onEnd = () => {} } = {}) {
  const line = document.createElement("div");
  line.className = "toast";
  const words = document.createElement("span");
  words.textContent = text;
  line.append(words);
  let timer = null;
  const end = (undone) => {
    clearTimeout(timer);
    if (!line.isConnected) return;
    line.remove();
    onEnd(undone);
  };
  const wait = () => { timer = setTimeout(() => end(false), milliseconds); };
  if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = undo;
    button.addEventListener("click", () => end(true));
    line.append(button);
  }
  for (const event of ["pointerenter", "focusin"]) line.addEventListener(event, () => clearTimeout(timer));
  for (const event of ["pointerleave", "focusout"]) line.addEventListener(event, wait);
  toasts.append(line);
  announce(text);
  wait();
  return { end };
}
