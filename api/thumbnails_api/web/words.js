// Numbers and states in words.

const STATES = { pending: "Waiting", processing: "Being made", complete: "Done", failed: "Failed", cancelled: "Cancelled" };

export function stateWord(status) {
  return STATES[status] || status;
}

export function bytes(count) {
  const units = ["B", "KB", "MB", "GB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${count < 10 && unit ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

export function moment(text) {
  return new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** "1 picture", "3 pictures" */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
