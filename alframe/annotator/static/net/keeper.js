/**
 * Autosave of one lease's draft: to this browser right after a stroke, to the server shortly after. Only what one of them has
 * confirmed counts as saved. The server's copy is replaced under its tag (If-Match); when somebody else changed it meanwhile,
 * `onConflict(theirs)` says whose goes on: "mine" or "theirs".
 *
 * `state`: saved (both, or what there is of them) · saving · local (this browser only, trying) · conflict · closed (lease is over).
 */

import { DRAFT_TYPE, packDraft, unpackDraft } from "../core/codec.js";
import { Offline, Problem, pause } from "./api.js";

const LOCAL_MS = 120, SERVER_MS = 1200;

export class Keeper {
  #edit = 0;
  #localEdit = 0;
  #serverEdit = 0;
  #localTimer = 0;
  #serverTimer = 0;
  #sending = null;
  #writing = null;
  #stopped = false;
  #abort = new AbortController();

  /** `snapshot()` → {header, data} of what is to be saved; `record` → fields of the local copy ({key, rater, campaign}). */
  constructor({ api, store, lease, record, writer, snapshot, tag = null, onState, onConflict, server = true }) {
    Object.assign(this, { api, store, lease, record, writer, snapshot, tag, onState, onConflict, server });
    this.state = "saved";
  }

  get pending() { return Math.max(this.#edit - this.#localEdit, this.server ? this.#edit - this.#serverEdit : 0); }

  #say(state) {
    if (state === this.state || this.#stopped) return;
    this.state = state;
    this.onState(state);
  }

  /** Something changed. */
  touched() {
    if (this.#stopped) return;
    this.#edit += 1;
    this.#say(this.state === "conflict" || this.state === "local" ? this.state : "saving");
    this.#localTimer ||= setTimeout(() => this.#writeLocal(), LOCAL_MS);
    if (this.server) this.#serverTimer ||= setTimeout(() => this.#send(), SERVER_MS);
  }

  /** Save what there is now, here and on the server; resolves when both were tried. */
  async flush() {
    await Promise.all([this.#writeLocal(), this.server ? this.#send() : null]);
  }

  /** Stop saving (the work is handed in, or another tab goes on). What was not saved yet stays unsaved: flush first. */
  async stop() {
    this.#stopped = true;
    this.#abort.abort();
    clearTimeout(this.#localTimer);
    clearTimeout(this.#serverTimer);
    this.#localTimer = this.#serverTimer = 0;
    await Promise.allSettled([this.#writing, this.#sending]);
  }

  /** Go on after a stop. */
  resume() {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#abort = new AbortController();
    if (this.#edit !== this.#serverEdit || this.#edit !== this.#localEdit) {
      this.#edit -= 1;
      this.touched();
    }
  }

  async #pack() {
    const edit = this.#edit, { header, data } = this.snapshot();
    return { edit, bytes: await packDraft({ ...header, writer: this.writer, edit }, data) };
  }

  async #writeLocal() {
    clearTimeout(this.#localTimer);
    this.#localTimer = 0;
    if (this.#writing) {
      await this.#writing;
      if (this.#edit === this.#localEdit) return undefined;
    }
    this.#writing = this.#writeNow().finally(() => { this.#writing = null; });
    return this.#writing;
  }

  async #writeNow() {
    if (this.#edit === this.#localEdit) return;
    const { edit, bytes } = await this.#pack();
    try {
      await this.store.put("drafts", { ...this.record, bytes, tag: this.tag, clean: this.server && this.#serverEdit >= edit, written: Date.now() });
      this.#localEdit = Math.max(this.#localEdit, edit);
      if (!this.server) this.#settle();
    } catch { /* the disk is full: the server's copy has to do */ }
  }

  #settle() {
    const saved = this.server ? this.#edit === this.#serverEdit : this.#edit === this.#localEdit;
    if (saved) this.#say("saved");
  }

  async #send() {
    clearTimeout(this.#serverTimer);
    this.#serverTimer = 0;
    if (this.#sending) return this.#sending;
    this.#sending = this.#sendAll().finally(() => { this.#sending = null; });
    return this.#sending;
  }

  async #sendAll() {
    for (let tries = 0; !this.#stopped && this.#edit !== this.#serverEdit;) {
      const { edit, bytes } = await this.#pack();
      try {
        const condition = this.tag === null ? { "If-None-Match": "*" } : { "If-Match": `"${this.tag}"` };
        const reply = await this.api.json("PUT", `leases/${this.lease}/draft`, { raw: bytes, type: DRAFT_TYPE, headers: condition, signal: this.#abort.signal });
        this.tag = reply.tag;
        this.#serverEdit = edit;
        tries = 0;
        await this.#mark(bytes, edit);
        this.#settle();
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error instanceof Problem && error.status === 412) {
          await this.#reconcile(edit);
        } else if (error instanceof Problem && (error.status === 409 || error.status === 403 || error.status === 404)) {
          this.#say("closed");
          return;
        } else if (error instanceof Offline || error instanceof Problem) {
          this.#say("local");
          if (this.#edit !== this.#localEdit) await this.#writeLocal();
          await pause(tries, this.#abort.signal);
          tries += 1;
        } else throw error;
      }
    }
  }

  /** The local copy knows which server copy it goes with. */
  async #mark(bytes, edit) {
    try {
      await this.store.put("drafts", { ...this.record, bytes, tag: this.tag, clean: true, written: Date.now() });
      this.#localEdit = Math.max(this.#localEdit, edit);
    } catch { /* see above */ }
  }

  /** The server's copy is not the one we knew. It may be our own, whose acknowledgement was lost. */
  async #reconcile(edit) {
    const response = await this.api.call("GET", `leases/${this.lease}/draft`);
    if (response.status === 204) {
      this.tag = null;
      return;
    }
    const tag = (response.headers.get("ETag") ?? "").replace(/^W\//, "").replaceAll('"', "");
    let theirs = null;
    try { theirs = await unpackDraft(new Uint8Array(await response.arrayBuffer())); } catch { /* no draft of this page: ours goes on */ }
    if (theirs && theirs.header.writer !== this.writer) {
      this.#say("conflict");
      const choice = await this.onConflict(theirs);
      if (this.#stopped) return;
      if (choice === "theirs") this.#edit += 1; // it was taken in as a stroke, and goes out again as ours
      this.state = "saving";
      this.onState("saving");
    } else if (theirs && theirs.header.edit >= edit) this.#serverEdit = theirs.header.edit;
    this.tag = tag;
  }
}
