/** A reviewer's own labels of a task: drawn on the same bench, kept in this browser, handed in as the decision. */

import { Clock } from "../core/clock.js";
import { Keeper } from "../net/keeper.js";
import { Problem } from "../net/api.js";
import { TAB } from "../net/tabs.js";
import { ask, note } from "../ui/dialog.js";
import { h, icon } from "../ui/dom.js";
import { Workbench } from "../ui/workbench.js";
import { CLIENT, bodyOf, declineOf, outcomeOf } from "./handing.js";
import { draftKey, localDraft } from "./opening.js";
import { Topline } from "./topline.js";

export class Decision {
  #gone = new AbortController();

  /** `open`: {task, assets, said}; `labels`: what it starts from; `leave(decided)` is called when it is over. */
  constructor(app, host, open, labels, leave) {
    Object.assign(this, { app, host, open, leave, line: new Topline(app.slot, false), clock: new Clock(() => performance.now()), began: Date.now(), key: draftKey(app.session, `decision/${open.task.id}`) });
    for (const name of ["pointerdown", "pointermove", "keydown"]) addEventListener(name, () => this.clock.touch(), { signal: this.#gone.signal });
    this.timer = setInterval(() => this.line.clock(this.clock.total), 1000);
    this.ready = this.#mount(labels);
  }

  async destroy() {
    this.#gone.abort();
    clearInterval(this.timer);
    await this.keeper?.flush();
    await this.keeper?.stop();
    this.bench?.destroy();
    this.line.destroy();
  }

  async #mount(labels) {
    const { task, assets } = this.open, { rater, campaign } = this.app.session;
    const local = await localDraft(this.app.store, this.key, rater, labels.length);
    const before = local && (await ask({
      title: "You began a decision before", body: [h("p", {}, "This browser kept what you drew on this task. Go on with it?")],
      actions: [{ label: "Start anew", value: "" }, { label: "Go on with it", value: "yes", kind: "primary" }],
    })) === "yes";
    if (this.#gone.signal.aborted) return;
    this.keeper = new Keeper({
      api: this.app.api, store: this.app.store, lease: "", writer: TAB, server: false, record: { key: this.key, rater, campaign },
      snapshot: () => ({ header: { version: 1, task: task.id, class_map: task.class_map, client: CLIENT }, data: this.bench.editor.labels.data }),
      onState: (state) => this.line.saved(state),
    });
    this.bench = new Workbench(this.app.settings, assets, {
      task, labels: before ? local.draft.data : labels.slice(),
      footer: [
        h("button", { type: "button", class: "quiet", onclick: () => this.bench.decline() }, "Not possible …"),
        h("button", { type: "button", class: "quiet", onclick: () => this.#leave(false) }, "Back"),
        h("button", { type: "button", class: "primary submit", onclick: () => this.bench.submit() }, "Decide", h("kbd", {}, "Ctrl ⏎")),
      ],
      onStroke: () => this.keeper.touched(),
      submit: () => this.#submit(),
      decline: () => this.#decline(),
    });
    this.bench.tell([icon("polygon"), h("span", {}, "Your labels will stand for this task. The raters' own are kept.")]);
    this.host.replaceChildren(this.bench.element);
    this.bench.stage.resize();
    this.bench.stage.element.focus({ preventScroll: true });
  }

  async #leave(decided) {
    await this.destroy();
    if (decided) await this.app.store.delete("drafts", this.key);
    this.leave(decided);
  }

  async #submit() {
    if (this.bench.editor.points.length) return note("Close the polygon first (Enter), or take it back (Esc)");
    const outcome = await outcomeOf(this.bench.editor.labels);
    return outcome && this.#hand({ outcome });
  }

  async #decline() {
    const said = await declineOf(false);
    if (said) await this.#hand(said);
  }

  async #hand({ outcome, reason }) {
    const { task, assets, said } = this.open, { rater, campaign } = this.app.session, id = crypto.randomUUID();
    this.bench.freeze(true, [h("p", {}, "Handing in …")]);
    const mine = said.find((one) => one.standing === "adjudication" && one.rater === rater);
    const body = await bodyOf({
      task: task.id, labels: this.bench.editor.labels, shape: task.shape, classMap: task.class_map, outcome, reason, shown: false, suggestion: assets.suggestion,
      active: this.clock.total, wall: Date.now() - this.began, supersedes: mine?.id ?? null,
    });
    const record = await this.app.outbox.add({ id, path: `adjudications/${id}`, rater, campaign, body });
    try {
      await this.app.outbox.deliver(record, (tries, error) => this.bench.freeze(true, [h("p", {}, "Your decision is written down in this browser and is sent as soon as the server answers."), h("p", { class: "hint" }, error.message)]));
      note("Decided");
      await this.#leave(true);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      await this.app.outbox.drop(record);
      this.bench.freeze(false);
      await ask({ title: "The server did not take this", body: [h("p", {}, error.message)], actions: [{ label: "Back to the image", value: "back", kind: "primary" }] });
    }
  }
}
