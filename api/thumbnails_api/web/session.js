// The API key: in this tab, or on this device when its owner says so, and nowhere once they sign out.

const KEY = "thumbnails-key";

/** The key that was given, or null. */
export function key() {
  return sessionStorage.getItem(KEY) || localStorage.getItem(KEY);
}

/** Whether the key outlives this tab. */
export function staysOnDevice() {
  return localStorage.getItem(KEY) !== null;
}

/** Keep a key: until the tab is closed, or on this device until `forget`. */
export function keep(value, onDevice) {
  forget();
  (onDevice ? localStorage : sessionStorage).setItem(KEY, value);
}

/** Leave no trace of it. */
export function forget() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

/** Call back when another tab forgets, or gets, the key of this device. */
export function onChangeElsewhere(act) {
  addEventListener("storage", (event) => { if (event.key === KEY || event.key === null) act(); });
}
