// The form that says what shall be made of the chosen pictures: a preset, or sizes of one's own, each with a preview.

import { draw } from "./preview.js";
import { formatWord } from "./words.js";

const MAX_SIZES = 8;
const OWN = "";

const form = document.getElementById("upload");
const presetChoice = document.getElementById("preset-choice");
const sizes = document.getElementById("sizes");
const addSize = document.getElementById("add-size");
const presetPreviews = document.getElementById("preset-previews");
const sizeTemplate = document.getElementById("size-template");
const previewTemplate = document.getElementById("preview-template");

let presets = {};
let picture = null;

/** Begin with one size. */
export function startOptions() {
  addSize.addEventListener("click", () => {
    add().querySelector("[name=width]").focus();
    redraw();
  });
  form.addEventListener("input", redraw);
  new ResizeObserver(redraw).observe(form);
  add();
}

/** Offer these presets: outputs by name, as `/presets` has them. */
export function offerPresets(found) {
  presets = found;
  const names = Object.keys(found);
  form.elements.preset.replaceChildren(new Option("Sizes of my own", OWN), ...names.map((name) => new Option(name, name)));
  presetChoice.hidden = !names.length;
  redraw();
}

/** Show what becomes of this picture (of `loadPicture`); null when there is none. */
export function showPicture(shown) {
  picture = shown;
  redraw();
}

/** The fields of an upload: only what is set and matters, since the service knows the rest. */
export function uploadFields() {
  const preset = form.elements.preset.value;
  if (preset !== OWN) return { preset };
  const outputs = [...sizes.children].map(readSize).map(sent);
  if (outputs.length === 1) return outputs[0];
  return { outputs: JSON.stringify(outputs.map((output, index) => ({ name: nameOf(sizes.children[index]), ...output }))) };
}

function add() {
  const size = sizeTemplate.content.firstElementChild.cloneNode(true);
  size.querySelector(".remove-size").addEventListener("click", () => {
    const neighbour = size.previousElementSibling || size.nextElementSibling;
    size.remove();
    redraw();
    neighbour.querySelector("[name=width]").focus();
  });
  for (const box of size.querySelectorAll("[name=format]")) box.addEventListener("change", () => keepOneFormat(size));
  sizes.append(size);
  return size;
}

/** No format at all would be none of the user's wishes. */
function keepOneFormat(size) {
  const boxes = [...size.querySelectorAll("[name=format]")];
  if (!boxes.some((box) => box.checked)) boxes[0].checked = true;
}

function redraw() {
  const preset = form.elements.preset.value;
  const own = preset === OWN;
  sizes.hidden = !own;
  sizes.disabled = !own; // what is not seen is not checked
  presetPreviews.hidden = own;
  addSize.hidden = !own || sizes.children.length >= MAX_SIZES;
  [...sizes.children].forEach((size, index) => {
    const several = sizes.children.length > 1;
    size.querySelector("legend").textContent = several ? `Size ${index + 1}` : "Size";
    size.querySelector(".size-name").hidden = !several;
    size.querySelector("[name=name]").disabled = !several;
    size.querySelector("[name=name]").placeholder = suggestion(size);
    size.querySelector(".remove-size").hidden = !several;
    size.querySelector(".remove-size").setAttribute("aria-label", `Remove size ${index + 1}`);
    const fit = control(size, "fit").value;
    control(size, "position").disabled = fit !== "cover" && fit !== "contain";
    control(size, "background").disabled = control(size, "paper").value !== "colour";
    if (own && picture) draw(size.querySelector(".preview"), picture, readSize(size));
  });
  checkNames();
  if (!own && picture) drawPreset(presets[preset] || []);
}

function drawPreset(outputs) {
  while (presetPreviews.children.length > outputs.length) presetPreviews.lastElementChild.remove();
  while (presetPreviews.children.length < outputs.length) presetPreviews.append(previewTemplate.content.firstElementChild.cloneNode(true));
  outputs.forEach((output, index) => {
    const figure = presetPreviews.children[index];
    const formats = output.formats || ["auto"];
    draw(figure, picture, { width: null, height: null, fit: "cover", position: "center", background: null, ...output, formats });
    const words = formats.map(formatWord).join(", ");
    figure.querySelector("figcaption").prepend(`${output.name || "default"} (${words}): `);
  });
}

function control(size, name) {
  return size.querySelector(`[name=${name}]`);
}

function readSize(size) {
  const number = (name) => (control(size, name).validity.valid && control(size, name).value ? control(size, name).valueAsNumber : null);
  const paper = control(size, "paper").value;
  return {
    width: number("width"), height: number("height"), fit: control(size, "fit").value,
    position: control(size, "position").value,
    background: paper === "colour" ? control(size, "background").value : paper || null,
    formats: [...size.querySelectorAll("[name=format]:checked")].map((box) => box.value),
    quality: number("quality"), withoutEnlargement: control(size, "withoutEnlargement").checked,
    animated: control(size, "animated").checked, metadata: control(size, "metadata").checked ? "keep" : "strip",
  };
}

/** As the API wants it. */
function sent({ formats, ...output }) {
  const fields = { ...output, format: formats.join(",") };
  if (fields.fit !== "cover" && fields.fit !== "contain") delete fields.position;
  if (!fields.withoutEnlargement) delete fields.withoutEnlargement;
  if (fields.animated) delete fields.animated;
  if (fields.metadata === "strip") delete fields.metadata;
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

function nameOf(size) {
  return control(size, "name").value.trim() || suggestion(size);
}

/** A name by the size that was asked for; a number makes it one of its own. */
function suggestion(size) {
  const { width, height } = readSize(size);
  const base = width && height ? `${width}x${height}` : width ? `w${width}` : height ? `h${height}` : "default";
  const before = [...sizes.children].slice(0, [...sizes.children].indexOf(size)).map(nameOf);
  let name = base;
  for (let number = 2; before.includes(name); number += 1) name = `${base}-${number}`;
  return name;
}

function checkNames() {
  const seen = new Set();
  for (const size of sizes.children) {
    const name = nameOf(size);
    control(size, "name").setCustomValidity(seen.has(name) && sizes.children.length > 1 ? "Another size has this name." : "");
    seen.add(name);
  }
}
