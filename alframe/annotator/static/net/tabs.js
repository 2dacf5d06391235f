/**
 * Two tabs of this browser on one lease: the newest one works, the other pauses. Before it does, it saves; the new tab waits
 * for that, a moment at most. (Other browsers and machines are told apart by the draft's tag, see keeper.js.)
 */

export const TAB = crypto.randomUUID?.() ?? String(Math.random());

export class Tabs {
  #channel = "BroadcastChannel" in window ? new BroadcastChannel("alframe-leases") : null;
  #lease = null;
  #onTaken = null;
  #heard = new Set();

  constructor() {
    if (this.#channel) this.#channel.onmessage = ({ data }) => this.#hear(data);
  }

  async #hear({ kind, lease, from, to }) {
    if (kind === "take" && lease === this.#lease && from !== TAB) {
      const taken = this.#onTaken;
      this.#lease = null;
      this.#channel.postMessage({ kind: "wait", lease, from: TAB, to: from });
      await taken();
      this.#channel.postMessage({ kind: "given", lease, from: TAB, to: from });
    }
    if (to === TAB) for (const heard of this.#heard) heard(kind, lease);
  }

  /** Work on a lease here. `onTaken` is called when another tab takes it (it saves, then pauses). */
  async take(lease, onTaken) {
    this.#lease = lease;
    this.#onTaken = onTaken;
    if (!this.#channel) return;
    await new Promise((resolve) => {
      const heard = (kind, of) => {
        if (of !== lease) return;
        clearTimeout(timer);
        if (kind === "given") done(); else timer = setTimeout(done, 4000);
      };
      const done = () => { this.#heard.delete(heard); resolve(); };
      let timer = setTimeout(done, 150);
      this.#heard.add(heard);
      this.#channel.postMessage({ kind: "take", lease, from: TAB });
    });
  }

  leave() { this.#lease = null; }
}
