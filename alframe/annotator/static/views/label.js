/** The labelling view: claim, open, draw, keep, hand in, and on to the next. */

import { unpackMask } from "../core/codec.js";
import { Clock } from "../core/clock.js";
import { Assets } from "../net/assets.js";
import { Offline, Problem } from "../net/api.js";
import { Keeper } from "../net/keeper.js";
import { TAB } from "../net/tabs.js";
import { ask, note } from "../ui/dialog.js";
import { clockTime, h, icon } from "../ui/dom.js";
import { Workbench } from "../ui/workbench.js";
import { CLIENT, bodyOf, declineOf, outcomeOf } from "./handing.js";
import { chooseMine } from "./mine.js";
import { localDraft, pick, serverDraft } from "./opening.js";
import { failed, waiting } from "./waiting.js";

const BEAT_MS = 60_000;
const STATES = { saved: ["check", "Saved"], saving: ["dots", "Saving"], local: ["cloud-off", "Saved in this browser, server not reached"], conflict: ["warn", "Changed elsewhere"], closed: ["warn", "Kept in this browser"] };

export class LabelView {
  #open = null; // the task on the bench: {assignment, assets, keeper, clock, bench, …}
  #timers = [];
  #gone = new AbortController();

  constructor(app, host) {
    Object.assign(this, { app, host, api: app.api, store: app.store });
    this.saved = h("span", { class: "saved", role: "status" });
    this.time = h("span", { class: "time", title: "Time at work on this task; pauses are left out" });
    this.progress = h("div", { class: "progress" });
    app.slot.replaceChildren(this.progress, this.saved, this.time);
    const on = (target, name, run) => target.addEventListener(name, run, { signal: this.#gone.signal });
    for (const name of ["pointerdown", "pointermove", "keydown", "wheel"]) on(window, name, () => this.#active());
    on(document, "visibilitychange", () => this.#visibility());
    on(window, "pagehide", () => this.#open?.keeper.flush());
    this.#timers.push(setInterval(() => this.#tick(), 1000));
    this.start();
  }

  destroy() {
    this.#gone.abort();
    this.#timers.forEach(clearInterval);
    this.app.slot.replaceChildren();
    return this.#close(true);
  }

  get dead() { return this.#gone.signal.aborted; }

  // -- from task to task

  async start() {
    try {
      this.#count(await this.api.json("GET", "progress"));
      await this.#sendWaiting();
      await this.next();
    } catch (error) { this.#trouble(error, () => this.start()); }
  }

  #trouble(error, again) {
    if (this.dead || error.name === "AbortError") return;
    if (!(error instanceof Offline || error instanceof Problem)) throw error;
    failed(this.host, error, again);
  }

  /** Hand in what an earlier page wrote down but never got acknowledged. */
  async #sendWaiting() {
    const { rater, campaign } = this.app.session;
    for (const record of await this.app.outbox.waiting(rater, campaign)) {
      try {
        const receipt = await this.app.outbox.deliver(record, () => this.#say("local"));
        const { lease } = JSON.parse(record.text);
        await this.store.delete("drafts", this.#key(lease));
        this.#count(receipt.progress);
        note("A submission from before has arrived");
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        await this.#refusedBefore(record, error);
      }
    }
  }

  async #refusedBefore(record, error) {
    const body = JSON.parse(record.text);
    const answer = await ask({
      title: "A submission from before was refused",
      body: [h("p", {}, error.message)],
      actions: [{ label: "Drop it", value: "drop", kind: "danger" }, { label: "Keep it for later", value: "" }, ...(body.lease && body.mask ? [{ label: "Open it", value: "open", kind: "primary" }] : [])],
    });
    if (answer) await this.app.outbox.drop(record);
    if (answer === "open") this.resumed = { lease: body.lease, data: await unpackMask(body.mask) };
  }

  async next() {
    await this.#close();
    if (this.dead) return;
    this.host.replaceChildren(h("div", { class: "loading", role: "status" }, "Loading the next region …"));
    try {
      if (this.resumed) {
        const { lease, data } = this.resumed;
        this.resumed = null;
        return await this.#begin(await this.api.json("GET", `leases/${lease}`), data);
      }
      const response = await this.api.call("POST", "leases", { json: {} });
      if (this.dead) return;
      if (response.status === 204) {
        const seconds = Number(response.headers.get("Retry-After")) || 20;
        this.#count(await this.api.json("GET", "progress"));
        this.#say(null);
        return waiting(this.host, this.counted, seconds, () => !this.dead && this.next(), () => this.correct());
      }
      return await this.#begin(await response.json());
    } catch (error) { return this.#trouble(error, () => this.next()); }
  }

  #key(lease, correction = false) { return `${this.app.session.campaign}/${this.app.session.rater}/${correction ? "correction/" : ""}${lease}`; }

  /** Open an assignment. One whose submission is in is a correction; `data` replaces what it would begin with. */
  async #begin(assignment, data = null) {
    const { lease, task, submission } = assignment, size = task.shape.reduce((one, other) => one * other, 1);
    const correcting = Boolean(submission) && !["active", "expired", "released"].includes(lease.state) ? submission : null;
    const key = this.#key(lease.id, Boolean(correcting)), assets = new Assets(this.api, task);
    if (!correcting) await this.app.tabs.take(lease.id, () => this.#taken());
    const [local, server, suggestion, before] = await Promise.all([
      localDraft(this.store, key, this.app.session.rater, size),
      correcting ? null : serverDraft(this.api, lease.id, size),
      assets.loadSuggestion(),
      correcting?.mask_url ? this.api.bytes(correcting.mask_url) : null,
    ]);
    const found = data ? null : await pick(local, server);
    if (this.dead) return;
    const header = found?.draft.header ?? {};
    const labels = data ?? found?.draft.data ?? before ?? (suggestion && this.app.settings.start ? suggestion.slice() : new Uint8Array(size));
    const open = {
      assignment, task, lease, correcting, assets, lost: lease.state === "expired", beat: Date.now(),
      shown: header.shown ?? Boolean(!found && !before && !data && suggestion && this.app.settings.start),
      clock: new Clock(() => performance.now(), header.active ?? 0), began: header.began ?? Date.now(),
    };
    this.#open = open;
    open.clock.touch();
    open.keeper = new Keeper({
      api: this.api, store: this.store, lease: lease.id, writer: TAB, tag: server?.tag ?? null, server: !correcting,
      record: { key, rater: this.app.session.rater, campaign: this.app.session.campaign },
      snapshot: () => ({ header: { version: 1, task: task.id, class_map: task.class_map, client: CLIENT, active: open.clock.total, began: open.began, shown: open.shown, z: open.bench.editor.z }, data: open.bench.editor.labels.data }),
      onState: (state) => this.#say(state),
      onConflict: (theirs) => this.#conflict(theirs),
    });
    this.#mount(open, labels, header.z);
    this.#say("saved");
    if (found?.source === "browser" && found.unsaved) {
      note("Your strokes from before are back");
      open.keeper.touched();
    }
    if (open.lost) this.#lostLease();
  }

  #mount(open, labels, z) {
    const { correcting, task } = open;
    const submit = h("button", { type: "button", class: "primary submit", onclick: () => open.bench.submit(), title: "Ctrl + Enter" }, correcting ? "Replace my submission" : "Submit", h("kbd", {}, "Ctrl ⏎"));
    const footer = [
      h("button", { type: "button", class: "quiet", onclick: () => open.bench.decline(), title: "N" }, "Not possible …"),
      correcting ? h("button", { type: "button", class: "quiet", onclick: () => this.#leaveCorrection() }, "Leave as it is") : h("button", { type: "button", class: "quiet", onclick: () => this.correct() }, icon("history"), "My last"),
      submit,
    ];
    open.bench = new Workbench(this.app.settings, open.assets, {
      task, labels, footer,
      onStroke: () => { open.clock.touch(); open.keeper.touched(); },
      onSuggestionSeen: () => { open.shown = true; },
      submit: () => this.#submit(),
      decline: () => this.#decline(),
    });
    if (z !== undefined && z < open.assets.shape[0]) open.bench.goSlice(z);
    open.banner = h("div", { class: "banner", role: "status", hidden: true });
    open.bench.element.querySelector(".middle").prepend(open.banner);
    if (correcting) this.#banner([h("span", {}, `You are correcting your submission (${correcting.outcome.replace("_", " ")}).`)]);
    this.host.replaceChildren(open.bench.element);
    open.bench.stage.resize();
    open.bench.stage.element.focus({ preventScroll: true });
  }

  #banner(content) {
    if (!this.#open?.banner) return;
    this.#open.banner.replaceChildren(...(content ?? []));
    this.#open.banner.hidden = !content;
  }

  async #close(saving = false) {
    const open = this.#open;
    this.#open = null;
    this.app.tabs.leave();
    if (!open) return;
    if (saving) await open.keeper.flush();
    await open.keeper.stop();
    open.bench.destroy();
    open.assets.destroy();
  }

  // -- handing in

  async #submit() {
    const open = this.#open, { bench } = open;
    if (bench.editor.points.length) return note("Close the polygon first (Enter), or take it back (Esc)");
    const outcome = await outcomeOf(bench.editor.labels);
    return outcome ? this.#hand(open, outcome) : undefined;
  }

  async #decline() {
    const open = this.#open, said = await declineOf(!open.correcting);
    if (said) await this.#hand(open, said.outcome, said.reason);
  }

  async #hand(open, outcome, reason = "", supersedes = open.correcting?.id ?? null) {
    const { bench, keeper, task, lease } = open;
    bench.freeze(true, [h("p", {}, "Handing in …")]);
    await keeper.stop();
    const id = crypto.randomUUID(), { rater, campaign } = this.app.session;
    const body = await bodyOf({
      lease: lease.id, task, labels: bench.editor.labels, outcome, reason, supersedes, shown: open.shown, suggestion: open.assets.suggestion,
      active: open.clock.total, wall: Math.max(0, Date.now() - open.began),
    });
    const record = await this.app.outbox.add({ id, path: `submissions/${id}`, rater, campaign, body });
    try {
      const receipt = await this.app.outbox.deliver(record, (tries, error) => {
        this.#say("local");
        bench.freeze(true, [h("p", {}, "Your work is written down in this browser and will be handed in as soon as the server answers."), h("p", { class: "hint" }, error.message)]);
      });
      await this.store.delete("drafts", this.#key(lease.id, Boolean(open.correcting)));
      if (!open.correcting) await this.store.delete("drafts", this.#key(lease.id));
      this.#handed(receipt, lease);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      await this.#refused(open, record, error, outcome, reason);
    }
  }

  #handed(receipt, lease) {
    if (receipt.progress) this.#count(receipt.progress);
    const { standing, outcome } = receipt.submission;
    const words = { late: "Handed in late, and it counts", extra: "Handed in late: others were faster, it is kept as an extra label", skip: "Skipped" }[standing] ?? (outcome === "labeled" || outcome === "empty_confirmed" ? "Submitted" : "Handed in");
    note(words, { action: { label: "Correct it", run: () => this.correct(lease.id) }, seconds: 8 });
    this.next();
  }

  async #refused(open, record, error, outcome, reason) {
    const goOn = async () => {
      await this.app.outbox.drop(record);
      open.keeper.resume();
      open.bench.freeze(false);
    };
    if (error.status !== 409) {
      const again = await ask({
        title: "The server did not take this", body: [h("p", {}, error.message)],
        actions: [{ label: "Keep it for later, go on", value: "later" }, { label: "Back to the image", value: "back", kind: "primary" }], must: true,
      });
      return again === "later" ? this.next() : goOn();
    }
    const fresh = await this.api.json("GET", `leases/${open.lease.id}`).catch(() => null);
    const answer = await ask({
      title: "This task was handed in already",
      body: [h("p", {}, "You submitted it in another tab or on another device. Both are kept; which one should count?")],
      actions: [{ label: "The other one", value: "theirs" }, { label: "This one", value: "mine", kind: "primary" }], must: true,
    });
    await goOn();
    if (answer === "mine" && fresh?.submission) return this.#hand(open, outcome, reason, fresh.submission.id);
    await this.store.delete("drafts", this.#key(open.lease.id));
    return this.next();
  }

  /** Correct one of the rater's submissions; without a lease, ask which. */
  async correct(lease = null) {
    try {
      const chosen = lease ?? await chooseMine(this.api);
      if (!chosen) return;
      const assignment = await this.api.json("GET", `leases/${chosen}`);
      await this.#close(true);
      await this.#begin(assignment);
    } catch (error) { this.#trouble(error, () => this.next()); }
  }

  async #leaveCorrection() {
    const { key } = this.#open.keeper.record;
    await this.#close();
    await this.store.delete("drafts", key);
    await this.next();
  }

  // -- leases, tabs, clocks

  async #conflict(theirs) {
    const { bench } = this.#open;
    const answer = await ask({
      title: "Changed elsewhere",
      body: [h("p", {}, "This task was also drawn on in another tab or on another device. Going on with the other version keeps yours behind “Undo”.")],
      actions: [{ label: "Use the other version", value: "theirs" }, { label: "Keep this one", value: "mine", kind: "primary" }], must: true,
    });
    if (answer === "theirs" && theirs.data.length === bench.editor.labels.data.length) bench.replace(theirs.data);
    return answer;
  }

  /** Another tab works on this lease now. */
  async #taken() {
    const open = this.#open;
    if (!open) return;
    await open.keeper.flush();
    await open.keeper.stop();
    open.clock.pause();
    open.bench.freeze(true, [h("h2", {}, "You are drawing in another tab"), h("p", {}, "What you did here is saved and was taken along."),
      h("button", { type: "button", class: "primary", onclick: () => this.next() }, "Go on here")]);
  }

  #active() {
    const open = this.#open;
    if (!open || open.bench.editor.frozen) return;
    const back = !open.clock.busy;
    open.clock.touch();
    if (back && Date.now() - open.beat > BEAT_MS / 2) this.#heartbeat();
  }

  #visibility() {
    if (document.visibilityState === "hidden") {
      this.#open?.clock.pause();
      this.#open?.keeper.flush();
    } else this.#active();
  }

  #tick() {
    const open = this.#open;
    this.time.textContent = open ? clockTime(open.clock.total) : "";
    if (open && open.clock.busy && Date.now() - open.beat > BEAT_MS) this.#heartbeat();
  }

  async #heartbeat() {
    const open = this.#open;
    if (!open || open.correcting || open.bench.editor.frozen) return;
    open.beat = Date.now();
    try {
      await this.api.json("POST", `leases/${open.lease.id}/heartbeat`);
      if (open.lost) { open.lost = false; this.#banner(null); }
    } catch (error) {
      if (error instanceof Problem && error.status === 409) await this.#reclaim(open);
      else if (!(error instanceof Offline || error instanceof Problem)) throw error;
    }
  }

  /** The lease ran out. Its place may still be free: then it is ours again. */
  async #reclaim(open) {
    const response = await this.api.call("POST", "leases", { json: {} }).catch(() => null);
    const got = response?.status === 201 ? (await response.json()).lease.id : null;
    if (this.#open !== open) return;
    open.lost = got !== open.lease.id;
    if (open.lost) this.#lostLease(); else this.#banner(null);
  }

  #lostLease() {
    this.#banner([icon("warn"), h("span", {}, "Your time for this task ran out while you were away. Your strokes are kept: go on and submit, it still counts if a place is free.")]);
  }

  // -- the line at the top

  #say(state) {
    const [name, words] = STATES[state] ?? [null, ""];
    this.saved.dataset.state = state ?? "";
    this.saved.title = words;
    this.saved.replaceChildren(...(name ? [icon(name), h("span", {}, words)] : []));
  }

  #count(progress) {
    if (!progress) return;
    this.counted = progress;
    const { done, total, mine } = progress, bar = h("progress", { max: Math.max(1, total), value: done, "aria-label": "Regions done in this round" });
    this.progress.replaceChildren(bar, h("span", {}, h("b", {}, String(done)), ` of ${total}`, h("span", { class: "mine" }, ` · yours ${mine}`)));
  }
}
