// What a picture will look like with the chosen options, drawn by the browser's own layout.

const box = document.getElementById("preview-box");
const image = document.getElementById("preview");
const caption = document.getElementById("preview-caption");
const ROOM = 280; // CSS pixels

let natural = null; // {width, height} of the picture that is shown; null when the browser cannot show it
let name = "";
let url = null;

/** Show this file from now on; null forgets it. */
export function setPicture(file, onReady) {
  if (url) URL.revokeObjectURL(url);
  url = null;
  natural = null;
  name = file ? file.name || "the pasted picture" : "";
  image.hidden = true;
  image.removeAttribute("src");
  if (!file) return;
  url = URL.createObjectURL(file);
  image.onload = () => {
    natural = { width: image.naturalWidth, height: image.naturalHeight };
    onReady();
  };
  image.onerror = onReady;
  image.src = url;
}

/** Draw it anew: {width, height, fit, position, background}, width and height null when not given. */
export function draw(options) {
  if (!url) return;
  if (!natural) {
    image.hidden = true;
    box.style.width = box.style.height = "0";
    caption.textContent = `This browser cannot show ${name}; the service can make its thumbnail all the same.`;
    return;
  }
  const size = outputSize(options);
  const scale = Math.min(1, ROOM / size.width, ROOM / size.height);
  box.style.width = `${Math.max(1, size.width * scale)}px`;
  box.style.height = `${Math.max(1, size.height * scale)}px`;
  box.style.backgroundColor = options.fit === "contain" && options.background ? options.background : "";
  box.style.backgroundImage = options.fit === "contain" && options.background ? "none" : "";
  image.style.objectFit = { cover: "cover", contain: "contain" }[options.fit] || "fill";
  image.style.objectPosition = options.position === "attention" ? "center" : options.position.replace("-", " ");
  image.alt = `How ${name} will look`;
  image.hidden = false;
  const where = options.position === "attention" && options.fit === "cover" ? " (where it is cut is found by the service)" : "";
  caption.textContent = `${size.width} × ${size.height} pixels${where}`;
}

/** The size that the thumbnail will have. */
function outputSize({ width, height, fit }) {
  const ratio = natural.width / natural.height;
  if (!width && !height) return { width: 100, height: 100 };
  if (!width) return { width: Math.max(1, Math.round(height * ratio)), height };
  if (!height) return { width, height: Math.max(1, Math.round(width / ratio)) };
  if (fit !== "inside" && fit !== "outside") return { width, height };
  const choose = fit === "inside" ? Math.min : Math.max;
  const scale = choose(width / natural.width, height / natural.height);
  return { width: Math.max(1, Math.round(natural.width * scale)), height: Math.max(1, Math.round(natural.height * scale)) };
}
