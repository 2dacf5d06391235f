/** The reviewer's view: the tasks that are disputed or complete, what everybody drew, and the decision. */

import { disputed, majority } from "../core/compare.js";
import { Offline, Problem } from "../net/api.js";
import { Assets } from "../net/assets.js";
import { note } from "../ui/dialog.js";
import { ago, clockTime, count, h, icon } from "../ui/dom.js";
import { Gallery } from "../ui/gallery.js";
import { Decision } from "./decision.js";

const STATES = [["disputed", "Disputed"], ["full", "Complete"], ["done", "Done"], ["", "All"]];
const PAGE = 50;

export class ReviewView {
  #gone = false;
  #open = null; // {task, assets, gallery | decision}

  constructor(app, host) {
    Object.assign(this, { app, host, api: app.api, state: "disputed" });
    this.filters = STATES.map(([value, label]) => h("button", { type: "button", "aria-pressed": String(value === this.state), onclick: () => this.#filter(value) }, label));
    this.list = h("ul", { class: "tasks" });
    this.more = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.load(this.after) }, "More");
    this.detail = h("section", { class: "detail", "aria-label": "Task" });
    host.replaceChildren(h("div", { class: "reviewing" }, h("nav", { class: "list", "aria-label": "Tasks to review" }, h("div", { class: "segments", role: "group", "aria-label": "State" }, ...this.filters), this.list, this.more), this.detail));
    this.#hint("Choose a task", "Disputed tasks are those whose raters differ by more than the campaign allows.");
    this.load();
  }

  async destroy() {
    this.#gone = true;
    await this.#close();
  }

  #hint(title, text) { this.detail.replaceChildren(h("div", { class: "card center" }, icon("polygon"), h("h1", {}, title), h("p", {}, text))); }

  #trouble(error) {
    if (this.#gone || error.name === "AbortError") return;
    if (!(error instanceof Offline || error instanceof Problem)) throw error;
    note(error.message, { kind: "bad" });
  }

  #filter(state) {
    this.state = state;
    STATES.forEach(([value], index) => this.filters[index].setAttribute("aria-pressed", String(value === state)));
    this.load();
  }

  /** The list; `after` goes on where it ended. */
  async load(after = null) {
    try {
      const query = new URLSearchParams({ limit: PAGE, ...(this.state ? { state: this.state } : {}), ...(after === null ? {} : { after }) });
      const { tasks, next } = await this.api.json("GET", `review/tasks?${query}`);
      if (this.#gone) return;
      const rows = tasks.map((task) => this.#row(task));
      if (after === null) this.list.replaceChildren(...(rows.length ? rows : [h("li", { class: "hint" }, "There is none now.")]));
      else this.list.append(...rows);
      this.after = next;
      this.more.hidden = next === null || next === undefined;
      this.#mark();
    } catch (error) { this.#trouble(error); }
  }

  #row({ id, item, state, disagreement, raters, replicas }) {
    const differ = disagreement === null ? null : h("meter", { min: 0, max: 1, value: disagreement, title: `disagreement ${disagreement.toFixed(3)}`, "aria-label": "disagreement" });
    return h("li", {}, h("button", { type: "button", class: "task", "data-task": id, onclick: () => this.open(id) },
      h("b", {}, item), h("span", { class: `badge small ${state}` }, state), h("span", { class: "hint" }, raters.length ? raters.join(", ") : `nobody yet, ${replicas} wanted`), differ));
  }

  #mark() {
    for (const button of this.list.querySelectorAll("button")) {
      if (button.dataset.task === this.#open?.id) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    }
  }

  async #close() {
    const open = this.#open;
    this.#open = null;
    await open?.decision?.destroy();
    open?.gallery?.destroy();
    open?.assets?.destroy();
  }

  async open(id) {
    try {
      await this.#close();
      const opening = (this.#open = { id });
      this.#mark();
      this.detail.replaceChildren(h("div", { class: "loading", role: "status" }, "Loading …"));
      const { task, submissions, agreement } = await this.api.json("GET", `review/tasks/${id}`);
      const assets = new Assets(this.api, task), said = submissions.filter((one) => one.current && one.standing !== "skip" && !one.repeat);
      const [suggestion, ...masks] = await Promise.all([assets.loadSuggestion(), ...said.map((one) => (one.mask_url ? this.api.bytes(one.mask_url) : null))]);
      if (this.#open !== opening || this.#gone) return assets.destroy();
      Object.assign(opening, { task, assets, said, masks, suggestion, agreement });
      return this.#compare();
    } catch (error) { return this.#trouble(error); }
  }

  #compare() {
    const open = this.#open, { task, assets, said, masks, suggestion } = open, drawn = masks.filter(Boolean);
    const start = (labels) => h("button", { type: "button", onclick: () => this.#decide(labels) }, "Start here");
    const panels = said.flatMap((one, index) => (masks[index] ? [{ title: one.standing === "adjudication" ? `${one.rater}, decided` : one.rater, says: this.#says(one), labels: masks[index], actions: [start(masks[index])] }] : []));
    if (drawn.length > 1) {
      const votes = masks.filter((mask, index) => mask && said[index].standing !== "adjudication");
      const apart = disputed(drawn), pixels = apart.reduce((sum, one) => sum + one, 0), fused = majority(votes.length ? votes : drawn);
      panels.push({ title: "Majority", says: "ties go to whoever came first", labels: fused, actions: [start(fused)] });
      panels.push({ title: "Differences", says: `${count(pixels)} pixels, ${((100 * pixels) / apart.length).toFixed(1)} %`, labels: apart, apart: true });
    }
    if (suggestion) panels.push({ title: "Model", says: "what it suggested", labels: suggestion, actions: [start(suggestion)] });
    const rest = said.filter((one, index) => !masks[index]);
    open.gallery = panels.length ? new Gallery(assets, task.classes, panels) : null;
    const body = open.gallery?.element ?? h("div", { class: "card center" }, h("p", {}, "Nobody has drawn anything here."), h("button", { type: "button", class: "primary", onclick: () => this.#decide(new Uint8Array(assets.shape.reduce((one, other) => one * other, 1))) }, "Draw it"));
    this.detail.replaceChildren(this.#head(open, rest), body);
    for (const { stage } of open.gallery?.panels ?? []) stage.resize();
  }

  #says({ outcome, received, active_ms: active, prefill_shown: shown }) {
    return [outcome === "labeled" ? null : outcome.replace("_", " "), active ? clockTime(active) : null, shown ? "saw the suggestion" : "without suggestion", ago(received)].filter(Boolean).join(" · ");
  }

  #head({ task, said, agreement, gallery }, rest) {
    const name = (id) => said.find((one) => one.id === id)?.rater ?? id;
    const pairs = agreement.filter(({ a, b }) => said.some((one) => one.id === a) && said.some((one) => one.id === b));
    const chips = pairs.map(({ a, b, dice, per_class: classes }) => h("li", { title: Object.entries(classes ?? {}).map(([id, value]) => `${task.classes[id]?.name ?? id} ${value.toFixed(3)}`).join(", ") }, `${name(a)} – ${name(b)} `, h("b", {}, dice.toFixed(3))));
    const others = rest.map((one) => h("li", { class: "other" }, `${one.rater}: ${one.outcome}`, one.reason ? h("q", {}, one.reason) : null));
    const slice = h("input", { type: "range", min: 0, max: task.shape.length === 3 ? task.shape[0] - 1 : 0, value: gallery?.z ?? 0, "aria-label": "Slice", oninput: () => gallery.show(Number(slice.value)) });
    if (gallery) gallery.onSlice = (z) => { slice.value = z; };
    const shown = h("input", { type: "checkbox", checked: true, onchange: () => gallery.setShown(shown.checked) });
    const opacity = h("input", { type: "range", min: 0, max: 100, value: 45, "aria-label": "Opacity of the labels", oninput: () => gallery.setOpacity(opacity.value / 100) });
    return h("header", { class: "reviewhead" }, h("div", {}, h("h1", {}, task.item), h("span", { class: `badge ${task.state}` }, task.state)),
      chips.length || others.length ? h("ul", { class: "chips", "aria-label": "Agreement (Dice)" }, ...chips, ...others) : null,
      gallery ? h("div", { class: "controls" }, h("label", { class: "check" }, shown, "Labels"), opacity, task.shape.length === 3 ? h("label", { class: "check" }, "Slice", slice) : null, h("button", { type: "button", onclick: () => gallery.fit() }, "Fit")) : null);
  }

  async #decide(labels) {
    const open = this.#open;
    open.gallery?.destroy();
    open.gallery = null;
    open.decision = new Decision(this.app, this.detail, open, labels, (decided) => {
      open.decision = null;
      if (decided) this.load();
      if (this.#open === open) this.open(open.id);
    });
    await open.decision.ready;
  }
}
