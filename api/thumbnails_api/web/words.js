// Numbers, states and moments in words.

const STATES = { pending: "Waiting", processing: "Being made", complete: "Done", failed: "Failed", cancelled: "Cancelled" };
const FORMATS = { auto: "as the original", jpeg: "JPEG", png: "PNG", webp: "WebP", avif: "AVIF", gif: "GIF", tiff: "TIFF" };
const UNITS = ["B", "KB", "MB", "GB", "TB"];
const TIMES = "\u00d7";

export function stateWord(status) {
  return STATES[status] || status;
}

export function formatWord(format) {
  return FORMATS[format] || format;
}

export function bytes(count) {
  let unit = 0;
  while (count >= 999.5 && unit < UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${count < 9.95 && unit ? count.toFixed(1) : Math.round(count)} ${UNITS[unit]}`;
}

export function dimensions({ width, height }) {
  return `${width} ${TIMES} ${height}`;
}

export function moment(text) {
  return new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** "40 s", "3 minutes", "2 hours": rounded up, so that it is not too soon. */
export function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? count(Math.ceil(seconds / 60), "minute") : count(Math.ceil(seconds / 3600), "hour");
}

/** "1 picture", "3 pictures" */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
