/** Handing in: written down first, sent until it is acknowledged, and what to do when it is refused. */

import { unpackMask } from "../core/codec.js";
import { Problem } from "../net/api.js";
import { ask, note } from "../ui/dialog.js";
import { h } from "../ui/dom.js";
import { bodyOf } from "./handing.js";
import { draftKey } from "./opening.js";

export class Delivery {
  constructor(app, line) {
    Object.assign(this, { app, line, api: app.api, store: app.store, outbox: app.outbox });
  }

  /** Hand in what an earlier page wrote down but never got acknowledged. {lease, data} of one that was refused and shall be opened, or null. */
  async sendWaiting() {
    const { rater, campaign } = this.app.session;
    let reopened = null;
    for (const record of await this.outbox.waiting(rater, campaign)) {
      if (!record.path.startsWith("submissions/")) continue;
      try {
        const receipt = await this.outbox.deliver(record, () => this.line.saved("local"));
        await this.store.delete("drafts", draftKey(this.app.session, JSON.parse(record.text).lease));
        this.line.count(receipt.progress);
        note("A submission from before has arrived");
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        reopened = (await this.#refusedBefore(record, error)) ?? reopened;
      }
    }
    return reopened;
  }

  async #refusedBefore(record, error) {
    const body = JSON.parse(record.text);
    const answer = await ask({
      title: "A submission from before was refused",
      body: [h("p", {}, error.message)],
      actions: [{ label: "Drop it", value: "drop", kind: "danger" }, { label: "Keep it for later", value: "" }, ...(body.mask ? [{ label: "Open it", value: "open", kind: "primary" }] : [])],
    });
    if (answer) await this.outbox.drop(record);
    return answer === "open" ? { lease: body.lease, data: await unpackMask(body.mask) } : null;
  }

  /**
   * Hand in what is on the bench (`open`, see the labelling view). `said`: {outcome, reason, supersedes}.
   * {receipt, next}: the receipt or null; whether to go on to another task (otherwise the bench is as before).
   */
  async hand(open, { outcome, reason = "", supersedes = open.correcting?.id ?? null }) {
    const { bench, keeper, task, lease } = open, { rater, campaign } = this.app.session, id = crypto.randomUUID();
    bench.freeze(true, [h("p", {}, "Handing in …")]);
    await keeper.stop();
    const body = await bodyOf({
      lease: lease.id, shape: task.shape, classMap: task.class_map, labels: bench.editor.labels, outcome, reason, supersedes, shown: open.shown,
      prefill: task.prefill?.sha256, suggestion: open.assets.suggestion, active: open.clock.total, wall: Date.now() - open.began,
    });
    const record = await this.outbox.add({ id, path: `submissions/${id}`, rater, campaign, body });
    try {
      const receipt = await this.outbox.deliver(record, (tries, error) => {
        this.line.saved("local");
        bench.freeze(true, [h("p", {}, "Your work is written down in this browser and is handed in as soon as the server answers."), h("p", { class: "hint" }, error.message)]);
      });
      await this.store.delete("drafts", keeper.record.key);
      return { receipt, next: true };
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return error.status === 409 ? this.#twice(open, record, outcome, reason) : this.#refused(open, record, error);
    }
  }

  async #refused(open, record, error) {
    const answer = await ask({
      title: "The server did not take this", body: [h("p", {}, error.message)],
      actions: [{ label: "Keep it for later, go on", value: "later" }, { label: "Back to the image", value: "back", kind: "primary" }], must: true,
    });
    if (answer !== "later") await this.#back(open, record);
    return { receipt: null, next: answer === "later" };
  }

  /** The rater answered this task before, elsewhere. */
  async #twice(open, record, outcome, reason) {
    const fresh = await this.api.json("GET", `leases/${open.lease.id}`).catch(() => null);
    const answer = await ask({
      title: "This task was handed in already",
      body: [h("p", {}, "You submitted it in another tab or on another device. Both are kept; which one should count?")],
      actions: [{ label: "The other one", value: "theirs" }, { label: "This one", value: "mine", kind: "primary" }], must: true,
    });
    await this.#back(open, record);
    if (answer === "mine" && fresh?.submission) return this.hand(open, { outcome, reason, supersedes: fresh.submission.id });
    await this.store.delete("drafts", open.keeper.record.key);
    return { receipt: null, next: true };
  }

  /** It was refused: the task is on the bench again. */
  async #back(open, record) {
    await this.outbox.drop(record);
    open.keeper.resume();
    open.bench.freeze(false);
  }
}
