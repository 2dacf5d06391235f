/**
 * Submissions on their way. Each is written down under its UUID, as the exact text that is sent, before it is sent for the first time,
 * and stays until the server has acknowledged it: a lost acknowledgement, a reload or a crash only sends the same text again.
 */

import { Offline, Problem, pause } from "./api.js";

export class Outbox {
  constructor(api, store) {
    Object.assign(this, { api, store });
  }

  /** Write a submission down; `path` is where it goes. Returns its record. */
  async add({ id, path, rater, campaign, body }) {
    const record = { key: id, path, rater, campaign, text: JSON.stringify(body), written: Date.now() };
    try { await this.store.put("outbox", record); } catch { /* the disk is full: it stays in memory until it is sent */ }
    return record;
  }

  /** One try. Returns the receipt; throws Offline to try again, Problem when the server refuses it for good. */
  async send(record) {
    const receipt = await this.api.json("PUT", record.path, { raw: record.text, type: "application/json" });
    await this.drop(record);
    return receipt;
  }

  /** Send until there is an answer. `onWait(tries)` is told of each failure; throws Problem when the server refuses. */
  async deliver(record, onWait = () => {}) {
    for (let tries = 0; ; tries += 1) {
      try {
        return await this.send(record);
      } catch (error) {
        const again = error instanceof Offline || (error instanceof Problem && [401, 408, 429, 500, 503].includes(error.status));
        if (!again) throw error;
        onWait(tries, error);
        await pause(tries);
      }
    }
  }

  async drop(record) { await this.store.delete("outbox", record.key); }

  /** What a rater handed in here that was never acknowledged, the oldest first. */
  async waiting(rater, campaign) {
    return (await this.store.of("outbox", rater, campaign)).sort((one, other) => one.written - other.written);
  }
}
