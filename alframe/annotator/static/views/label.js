/** The labelling view: claim, open, draw, keep, hand in, and on to the next. */

import { Clock } from "../core/clock.js";
import { Offline, Problem } from "../net/api.js";
import { Assets } from "../net/assets.js";
import { Keeper } from "../net/keeper.js";
import { Held } from "../net/lease.js";
import { TAB } from "../net/tabs.js";
import { ask, note } from "../ui/dialog.js";
import { h, icon } from "../ui/dom.js";
import { Workbench } from "../ui/workbench.js";
import { Delivery } from "./delivery.js";
import { CLIENT, declineOf, outcomeOf } from "./handing.js";
import { chooseMine } from "./mine.js";
import { draftKey, localDraft, pick, serverDraft } from "./opening.js";
import { Topline } from "./topline.js";
import { failed, waiting } from "./waiting.js";

export class LabelView {
  #open = null; // what is on the bench: {assignment, task, lease, correcting, assets, keeper, held, clock, bench, shown, began}
  #gone = new AbortController();
  #resumed = null;
  #turns = 0; // a task that is being opened gives way to a later one

  constructor(app, host) {
    Object.assign(this, { app, host, api: app.api, store: app.store, line: new Topline(app.slot) });
    this.delivery = new Delivery(app, this.line);
    const on = (target, name, run) => target.addEventListener(name, run, { signal: this.#gone.signal });
    for (const name of ["pointerdown", "pointermove", "keydown", "wheel"]) on(window, name, () => this.#active());
    on(document, "visibilitychange", () => this.#visibility());
    on(window, "pagehide", () => this.#open?.keeper.flush());
    this.timer = setInterval(() => this.#tick(), 1000);
    this.start();
  }

  async destroy() {
    this.#gone.abort();
    clearInterval(this.timer);
    await this.#close(true);
    this.line.destroy();
  }

  get dead() { return this.#gone.signal.aborted; }

  // -- from task to task

  async start() {
    this.host.replaceChildren(h("div", { class: "loading", role: "status" }, "Loading …"));
    try {
      this.line.count(await this.api.json("GET", "progress"));
      this.#resumed = await this.delivery.sendWaiting();
      await this.next();
    } catch (error) { this.#trouble(error, () => this.start()); }
  }

  #trouble(error, again) {
    if (this.dead || error.name === "AbortError") return;
    if (!(error instanceof Offline || error instanceof Problem)) throw error;
    failed(this.host, error, again);
  }

  async next() {
    const turn = (this.#turns += 1);
    await this.#close();
    if (this.#stale(turn)) return;
    this.host.replaceChildren(h("div", { class: "loading", role: "status" }, "Loading the next region …"));
    try {
      if (this.#resumed) {
        const { lease, data } = this.#resumed;
        this.#resumed = null;
        await this.#begin(turn, await this.api.json("GET", `leases/${lease}`), data);
        return;
      }
      const response = await this.api.call("POST", "leases", { json: {} });
      if (response.status === 204) await this.#nothing(turn, Number(response.headers.get("Retry-After")) || 20);
      else await this.#begin(turn, await response.json());
    } catch (error) { if (!this.#stale(turn)) this.#trouble(error, () => this.next()); }
  }

  #stale(turn) { return this.dead || turn !== this.#turns; }

  async #nothing(turn, seconds) {
    const progress = await this.api.json("GET", "progress");
    if (this.#stale(turn)) return;
    this.line.count(progress);
    this.line.saved(null);
    waiting(this.host, progress, seconds, () => !this.#stale(turn) && this.next(), () => this.correct());
  }

  /** Open an assignment. One that was handed in is a correction. `data` replaces what it would begin with. */
  async #begin(turn, assignment, data = null) {
    if (this.#stale(turn)) return;
    const { lease, task, submission } = assignment, { rater } = this.app.session, size = task.shape.reduce((one, other) => one * other, 1);
    const correcting = submission && ["submitted", "skipped"].includes(lease.state) ? submission : null;
    const key = draftKey(this.app.session, lease.id, Boolean(correcting)), assets = new Assets(this.api, task);
    if (!correcting) await this.app.tabs.take(lease.id, () => this.#taken());
    const [local, server, suggestion, before] = await Promise.all([
      localDraft(this.store, key, rater, size),
      correcting ? null : serverDraft(this.api, lease.id, size),
      assets.loadSuggestion(),
      correcting?.mask_url ? this.api.bytes(correcting.mask_url) : null,
    ]);
    const found = data ? null : await pick(local, server);
    if (this.#stale(turn)) {
      assets.destroy();
      return;
    }
    const header = found?.draft.header ?? {}, suggested = suggestion && this.app.settings.start;
    const labels = data ?? found?.draft.data ?? before ?? (suggested ? suggestion.slice() : new Uint8Array(size));
    const open = { assignment, task, lease, correcting, assets, began: header.began ?? Date.now(), shown: header.shown ?? Boolean(suggested && labels !== before && labels !== data) };
    open.clock = new Clock(() => performance.now(), header.active ?? 0);
    open.held = new Held(this.api, lease, { busy: () => open.clock.busy && !open.bench.editor.frozen, onLost: () => this.#leaseBanner(open) });
    open.keeper = this.#keeper(open, key, server?.tag ?? null);
    this.#open = open;
    this.#mount(open, labels, header.z);
    this.line.saved("saved");
    if (found?.unsaved) {
      note("Your strokes from before are back");
      open.keeper.touched();
    }
    if (open.held.lost && !correcting) this.#leaseBanner(open);
    open.clock.touch();
  }

  #keeper(open, key, tag) {
    const { rater, campaign } = this.app.session, { task, lease } = open;
    const header = () => ({ version: 1, task: task.id, class_map: task.class_map, client: CLIENT, active: open.clock.total, began: open.began, shown: open.shown, z: open.bench.editor.z });
    return new Keeper({
      api: this.api, store: this.store, lease: lease.id, writer: TAB, tag, server: !open.correcting, record: { key, rater, campaign },
      snapshot: () => ({ header: header(), data: open.bench.editor.labels.data }),
      onState: (state) => this.line.saved(state),
      onConflict: (theirs) => this.#conflict(open, theirs),
    });
  }

  #mount(open, labels, z) {
    const { correcting, task } = open;
    const quiet = (label, run, ...before) => h("button", { type: "button", class: "quiet", onclick: run }, ...before, label);
    const footer = [
      quiet("Not possible …", () => open.bench.decline()),
      correcting ? quiet("Leave it as it is", () => this.#leaveCorrection()) : quiet("My last", () => this.correct(), icon("history")),
      h("button", { type: "button", class: "primary submit", onclick: () => open.bench.submit() }, correcting ? "Replace" : "Submit", h("kbd", {}, "Ctrl ⏎")),
    ];
    open.bench = new Workbench(this.app.settings, open.assets, {
      task, labels, footer,
      onStroke: () => { open.clock.touch(); open.keeper.touched(); },
      onSuggestionSeen: () => { open.shown = true; },
      submit: () => this.#submit(),
      decline: () => this.#decline(),
    });
    if (z !== undefined && z < open.assets.shape[0]) open.bench.goSlice(z);
    if (correcting) open.bench.tell([icon("history"), h("span", {}, `You are correcting your submission (${correcting.outcome.replace("_", " ")}).`)]);
    this.host.replaceChildren(open.bench.element);
    open.bench.stage.resize();
    open.bench.stage.element.focus({ preventScroll: true });
  }

  async #close(saving = false) {
    const open = this.#open;
    this.#open = null;
    this.app.tabs.leave();
    if (!open) return;
    open.held.stop();
    if (saving) await Promise.race([open.keeper.flush(), new Promise((resolve) => { setTimeout(resolve, 2000); })]);
    await open.keeper.stop();
    open.bench.destroy();
    open.assets.destroy();
  }

  // -- handing in

  async #submit() {
    const open = this.#open, { editor } = open.bench;
    if (editor.points.length) return note("Close the polygon first (Enter), or take it back (Esc)");
    const outcome = await outcomeOf(editor.labels);
    return outcome && this.#hand(open, { outcome });
  }

  async #decline() {
    const open = this.#open, said = await declineOf(!open.correcting);
    if (said) await this.#hand(open, said);
  }

  async #hand(open, said) {
    const { receipt, next } = await this.delivery.hand(open, said);
    if (receipt) this.#handed(receipt, open.lease);
    if (next) await this.next();
  }

  #handed({ progress, submission: { standing, outcome } }, lease) {
    this.line.count(progress);
    const drawn = outcome === "labeled" || outcome === "empty_confirmed";
    const words = { late: "Handed in late, and it counts", extra: "Handed in late: others were faster, it is kept as an extra label", skip: "Skipped" }[standing] ?? (drawn ? "Submitted" : "Handed in");
    note(words, { action: { label: "Correct it", run: () => this.correct(lease.id) }, seconds: 8 });
  }

  /** Correct one of the rater's submissions; without a lease, ask which. */
  async correct(lease = null) {
    try {
      const chosen = lease ?? await chooseMine(this.api);
      if (!chosen) return;
      const turn = (this.#turns += 1), assignment = await this.api.json("GET", `leases/${chosen}`);
      await this.#close(true);
      await this.#begin(turn, assignment);
    } catch (error) { this.#trouble(error, () => this.next()); }
  }

  async #leaveCorrection() {
    const { key } = this.#open.keeper.record;
    await this.#close();
    await this.store.delete("drafts", key);
    await this.next();
  }

  // -- leases, tabs, clocks

  async #conflict(open, theirs) {
    const answer = await ask({
      title: "Changed elsewhere",
      body: [h("p", {}, "This task was also drawn on in another tab or on another device. Going on with the other version keeps yours behind “Undo”.")],
      actions: [{ label: "Use the other version", value: "theirs" }, { label: "Keep this one", value: "mine", kind: "primary" }], must: true,
    });
    if (answer === "theirs" && theirs.data.length === open.bench.editor.labels.data.length) open.bench.replace(theirs.data);
    return answer;
  }

  /** Another tab works on this lease now. */
  async #taken() {
    const open = this.#open;
    if (!open) return;
    open.bench.freeze(true, [h("h2", {}, "You are drawing in another tab"), h("p", {}, "What you did here is saved and was taken along."),
      h("button", { type: "button", class: "primary", onclick: () => this.next() }, "Go on here")]);
    open.clock.pause();
    open.held.stop();
    await open.keeper.flush();
    await open.keeper.stop();
  }

  #leaseBanner(open) {
    if (this.#open !== open) return;
    open.bench.tell(open.held.lost ? [icon("warn"), h("span", {}, "Your time for this task ran out while you were away. Your strokes are kept: go on and submit, it still counts if a place is free.")] : null);
  }

  #active() {
    const open = this.#open;
    if (!open || open.bench.editor.frozen) return;
    const back = !open.clock.busy;
    open.clock.touch();
    if (back && !open.correcting) open.held.wake();
  }

  #visibility() {
    if (document.visibilityState === "hidden") {
      this.#open?.clock.pause();
      this.#open?.keeper.flush();
    } else this.#active();
  }

  #tick() {
    const open = this.#open;
    this.line.clock(open ? open.clock.total : null);
    if (open && !open.correcting) open.held.tick();
  }
}
