/** Working time. A pause longer than a minute counts as a minute: nobody was there for the rest. */

export const IDLE_MS = 60_000;

export class Clock {
  #last = null;

  /** `now()` gives milliseconds; `active` is what was worked before (a draft that goes on). */
  constructor(now, active = 0) {
    this.now = now;
    this.active = active;
  }

  /** Somebody did something. */
  touch() {
    const now = this.now();
    if (this.#last !== null) this.active += Math.max(0, Math.min(now - this.#last, IDLE_MS));
    this.#last = now;
  }

  /** The page was left: what comes until the next touch does not count. */
  pause() {
    if (this.#last !== null) this.touch();
    this.#last = null;
  }

  /** Whether somebody did something within the last minute. */
  get busy() { return this.#last !== null && this.now() - this.#last < IDLE_MS; }

  /** Milliseconds until now. */
  get total() {
    return Math.round(this.active + (this.#last === null ? 0 : Math.max(0, Math.min(this.now() - this.#last, IDLE_MS))));
  }
}
