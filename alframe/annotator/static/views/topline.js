/** The line at the top while somebody labels: how far the round is, whether the work is saved, the time at work. */

import { clockTime, h, icon } from "../ui/dom.js";

const STATES = {
  saved: ["check", "Saved"],
  saving: ["dots", "Saving"],
  local: ["cloud-off", "Saved in this browser; the server is not reached"],
  conflict: ["warn", "Changed elsewhere"],
  closed: ["warn", "Saved in this browser"],
};

export class Topline {
  /** `counting`: whether the round's progress is shown. */
  constructor(slot, counting = true) {
    this.slot = slot;
    this.state = h("span", { class: "saved", role: "status" });
    this.time = h("span", { class: "time", title: "Time at work on this task; pauses are left out" });
    this.bar = h("progress", { "aria-label": "Regions done in this round" });
    this.words = h("span");
    this.progress = null;
    slot.replaceChildren(...(counting ? [h("div", { class: "progress" }, this.bar, this.words)] : []), this.state, this.time);
  }

  destroy() { this.slot.replaceChildren(); }

  /** One of the states of the keeper, or null for none. */
  saved(state) {
    const [name, words] = STATES[state] ?? [null, ""];
    this.state.dataset.state = state ?? "";
    this.state.title = words;
    this.state.replaceChildren(...(name ? [icon(name), h("span", {}, words)] : []));
  }

  count(progress) {
    if (!progress) return;
    this.progress = progress;
    const { done, total, mine } = progress;
    Object.assign(this.bar, { max: Math.max(1, total), value: done });
    this.words.replaceChildren(h("b", {}, String(done)), ` of ${total}`, h("span", { class: "mine" }, ` · yours ${mine}`));
  }

  clock(milliseconds) { this.time.textContent = milliseconds === null ? "" : clockTime(milliseconds); }
}
