// Which part of a picture goes where in a thumbnail: the renderer's own rules (worker, render/geometry.py), so that
// the preview is what will be made. Tests hold the two together.

// Where along each axis a position lies: 0 is left or top, 1 is right or bottom.
const ANCHORS = {
  center: [0.5, 0.5], top: [0.5, 0], "top-right": [1, 0], right: [1, 0.5], "bottom-right": [1, 1],
  bottom: [0.5, 1], "bottom-left": [0, 1], left: [0, 0.5], "top-left": [0, 0], attention: [0.5, 0.5],
};
const DEFAULT_SIDE = 100;

/**
 * `crop` {left, top, width, height} of a picture of `source` {width, height} is scaled to `size` and laid on a
 * `canvas` at `offset` {x, y}. Of `output`, width and height are null when not given. `attention` is the center here:
 * only the renderer looks at the picture.
 */
export function place(source, output) {
  const asked = output.width || output.height ? output : { ...output, width: DEFAULT_SIDE, height: DEFAULT_SIDE };
  const box = boxOf(source, asked);
  const [scaleX, scaleY] = scales(source, box, asked);
  const whole = { width: pixels(source.width * scaleX), height: pixels(source.height * scaleY) };
  const size = { width: Math.min(whole.width, box.width), height: Math.min(whole.height, box.height) };
  const [x, y] = ANCHORS[output.position] || ANCHORS.center;
  const everything = { left: 0, top: 0, ...source };
  if (output.fit === "cover") {
    const [left, width] = span(source.width, size.width / whole.width, x);
    const [top, height] = span(source.height, size.height / whole.height, y);
    return { crop: { left, top, width, height }, size, canvas: size, offset: { x: 0, y: 0 } };
  }
  if (output.fit === "contain") {
    const offset = { x: roundHalfEven((box.width - size.width) * x), y: roundHalfEven((box.height - size.height) * y) };
    return { crop: everything, size, canvas: box, offset };
  }
  return { crop: everything, size: whole, canvas: whole, offset: { x: 0, y: 0 } };
}

function boxOf(source, { width, height }) {
  if (!width) return { width: pixels(source.width * height / source.height), height };
  if (!height) return { width, height: pixels(source.height * width / source.width) };
  return { width, height };
}

function scales(source, box, { width, height, fit, withoutEnlargement }) {
  let x = box.width / source.width;
  let y = box.height / source.height;
  if (!width) x = y; // the side that follows was rounded: the other one is exact
  else if (!height) y = x;
  else if (fit === "cover" || fit === "outside") x = y = Math.max(x, y);
  else if (fit === "contain" || fit === "inside") x = y = Math.min(x, y);
  return withoutEnlargement ? [Math.min(x, 1), Math.min(y, 1)] : [x, y];
}

function span(length, share, anchor) {
  const kept = Math.min(length, length * share);
  return [(length - kept) * anchor, kept];
}

function pixels(length) {
  return Math.max(1, Math.floor(length + 0.5));
}

/** As Python rounds. */
function roundHalfEven(number) {
  const below = Math.floor(number);
  return number - below === 0.5 ? below + (below % 2) : Math.round(number);
}
