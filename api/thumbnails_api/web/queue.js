// Sends several things at a time, tries again what may pass, and waits when the service asks to.

const TRIES = 5;
const BACKOFF_SECONDS = 1; // doubled with each try
const LONGEST_WAIT_SECONDS = 300; // of a page that says nothing else meanwhile

export class Queue {
  #limit;
  #running = 0;
  #waiting = [];
  #pause = { until: 0, error: null }; // milliseconds since 1970, and who said so

  /** `limit`: how many tasks run at once. */
  constructor(limit) {
    this.#limit = limit;
  }

  /** Run a function when its turn comes; what it gives, or throws, is ours. */
  add(task) {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => task().then(resolve, reject));
      this.#next();
    });
  }

  /**
   * What `attempt` gives, which is made again when it threw what `mayPass`. Before a wait `onWait(seconds, error)` is
   * called. When one is told to wait (`retryAfter`), all wait: the others would hear the same.
   */
  async persist(attempt, onWait, signal) {
    for (let tried = 1; ; tried += 1) {
      for (let left = this.#secondsLeft(); left > 0; left = this.#secondsLeft()) {
        onWait(left, this.#pause.error);
        await sleep(left, signal);
      }
      try {
        return await attempt();
      } catch (error) {
        const seconds = error.retryAfter ?? BACKOFF_SECONDS * 2 ** (tried - 1);
        if (!error.mayPass || error.status === 401 || tried === TRIES || seconds > LONGEST_WAIT_SECONDS) throw error;
        if (error.retryAfter === null) {
          onWait(seconds, error);
          await sleep(seconds, signal);
        } else {
          this.#pause = { until: Math.max(this.#pause.until, Date.now() + seconds * 1000), error };
        }
      }
    }
  }

  #secondsLeft() {
    return (this.#pause.until - Date.now()) / 1000;
  }

  async #next() {
    if (this.#running >= this.#limit || !this.#waiting.length) return;
    this.#running += 1;
    await this.#waiting.shift()();
    this.#running -= 1;
    this.#next();
  }
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stopped = () => reject(new DOMException("Cancelled", "AbortError"));
    if (signal.aborted) { stopped(); return; }
    const timer = setTimeout(() => { signal.removeEventListener("abort", stopped); resolve(); }, seconds * 1000);
    signal.addEventListener("abort", () => { clearTimeout(timer); stopped(); }, { once: true });
  });
}
