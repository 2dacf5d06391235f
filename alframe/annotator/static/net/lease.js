/** A lease held while somebody is at work: heartbeats, and what to do when it is lost. */

import { Offline, Problem } from "./api.js";

const BEAT_MS = 60_000;

export class Held {
  #beat = Date.now();
  #stopped = false;

  /** `onLost(lost)` is told when the lease runs out, and when it is back. `busy()`: whether somebody works. */
  constructor(api, lease, { busy, onLost }) {
    Object.assign(this, { api, id: lease.id, busy, onLost, lost: lease.state !== "active" });
  }

  stop() { this.#stopped = true; }

  /** Call once a second or so. */
  tick() { if (this.busy() && Date.now() - this.#beat > BEAT_MS) this.beat(); }

  /** Somebody came back after a pause. */
  wake() { if (Date.now() - this.#beat > BEAT_MS / 2) this.beat(); }

  async beat() {
    this.#beat = Date.now();
    try {
      await this.api.json("POST", `leases/${this.id}/heartbeat`);
      this.#say(false);
    } catch (error) {
      if (error instanceof Problem && error.status === 409) await this.#reclaim();
      else if (!(error instanceof Offline || error instanceof Problem)) throw error;
    }
  }

  /** It ran out. While its place is free, whoever asks for work gets it back first. */
  async #reclaim() {
    const response = await this.api.call("POST", "leases", { json: {} }).catch(() => null);
    if (response) this.#say(response.status === 204 || (await response.json()).lease.id !== this.id);
  }

  #say(lost) {
    if (lost === this.lost || this.#stopped) return;
    this.lost = lost;
    this.onLost(lost);
  }
}
