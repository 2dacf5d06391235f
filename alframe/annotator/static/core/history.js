/** Undo and redo by strokes, with a cap on memory: the oldest strokes are forgotten first. */

export const HISTORY_BYTES = 64 * 2 ** 20;

export class History {
  #done = [];
  #undone = [];

  constructor(cap = HISTORY_BYTES) {
    this.cap = cap;
    this.bytes = 0;
  }

  get undoable() { return this.#done.length; }
  get redoable() { return this.#undone.length; }

  /** Remember a change that was just made. A single change beyond the cap is remembered all the same. */
  push(change) {
    for (const gone of this.#undone) this.bytes -= gone.bytes;
    this.#undone = [];
    this.#done.push(change);
    this.bytes += change.bytes;
    while (this.bytes > this.cap && this.#done.length > 1) this.bytes -= this.#done.shift().bytes;
  }

  /** The change to take back now, or null. */
  undo() {
    const change = this.#done.pop() ?? null;
    if (change) this.#undone.push(change);
    return change;
  }

  /** The change to make again now, or null. */
  redo() {
    const change = this.#undone.pop() ?? null;
    if (change) this.#done.push(change);
    return change;
  }

  clear() {
    this.#done = [];
    this.#undone = [];
    this.bytes = 0;
  }
}
