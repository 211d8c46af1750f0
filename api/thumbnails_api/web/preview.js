// What a picture will look like as one thumbnail: laid out by the browser, in the places that the renderer uses.

import { place } from "./geometry.js";
import { dimensions } from "./words.js";

const ROOM = 280; // CSS pixels
const OPAQUE = new Set(["jpeg"]); // formats without transparency

/** The picture of previews: {file, url, size}; `size` is null while it is loading and when this browser cannot show it. */
export async function loadPicture(file) {
  const picture = { file, url: URL.createObjectURL(file), size: null };
  const image = new Image();
  image.src = picture.url;
  try {
    await image.decode();
    picture.size = { width: image.naturalWidth, height: image.naturalHeight };
  } catch {
    // A TIFF, or what is no picture: the service will say.
  }
  return picture;
}

/** It is not shown any more. */
export function releasePicture(picture) {
  URL.revokeObjectURL(picture.url);
}

/** Draw into a `figure.preview`. `output`: as of `place`, with `formats` and `background` (null when not given). */
export function draw(figure, picture, output) {
  const box = figure.querySelector(".preview-box");
  const image = figure.querySelector("img");
  const caption = figure.querySelector("figcaption");
  const name = picture.file.name || "the pasted picture";
  box.hidden = !picture.size;
  if (!picture.size) {
    caption.textContent = /\.zip$/i.test(name)
      ? `This will be made of every picture in ${name}.`
      : `This browser cannot show ${name}; the service may know it all the same.`;
    return;
  }
  const { crop, size, canvas, offset } = place(picture.size, output);
  const scale = Math.min(1, ROOM / canvas.height, Math.min(ROOM, figure.clientWidth || ROOM) / canvas.width);
  const scaleX = (size.width / crop.width) * scale;
  const scaleY = (size.height / crop.height) * scale;
  Object.assign(box.style, {
    width: `${canvas.width * scale}px`,
    height: `${canvas.height * scale}px`,
    ...paper(picture.file, output),
  });
  if (image.getAttribute("src") !== picture.url) image.src = picture.url;
  Object.assign(image.style, {
    width: `${picture.size.width * scaleX}px`,
    height: `${picture.size.height * scaleY}px`,
    left: `${offset.x * scale - crop.left * scaleX}px`,
    top: `${offset.y * scale - crop.top * scaleY}px`,
  });
  image.alt = `How ${name} will look`;
  const enlarged = Math.max(size.width / crop.width, size.height / crop.height);
  const notes = [`${dimensions(canvas)} pixels`];
  if (enlarged > 1.005) notes.push(`enlarged ${enlarged.toFixed(1)} times`);
  if (output.fit === "cover" && output.position === "attention") notes.push("where it is cut is found by the service");
  caption.textContent = notes.join("; ");
}

/** What lies behind the picture: the colour, white where the format knows no transparency, else the chequers. */
function paper(file, { background, formats }) {
  const opaque = formats.some((format) => OPAQUE.has(format === "auto" ? file.type.replace("image/", "") : format));
  const colour = background && background !== "transparent" ? background : null;
  if (!colour && !opaque) return { backgroundColor: "", backgroundImage: "" };
  return { backgroundColor: colour && !opaque ? colour : colour ? colour.slice(0, 7) : "#ffffff", backgroundImage: "none" };
}
