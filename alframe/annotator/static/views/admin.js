/** The administrator's view: how the campaign stands, what it has learned, who labels, what comes next. */

import { Offline, Problem } from "../net/api.js";
import { lineChart, short } from "../ui/chart.js";
import { clockTime, count, h } from "../ui/dom.js";

const EVERY_MS = 10_000, SHOWN = 24;
const QUALITY = [["dice", "Dice"], ["object_f1", "object F1"]];
const CALIBRATION = [["ece", "expected calibration error", "ECE"], ["nll", "negative log-likelihood", "NLL"], ["brier", "Brier score", "Brier"]];

export class AdminView {
  #gone = false;
  #last = "";

  constructor(app, host) {
    Object.assign(this, { app, host });
    this.hint = h("span", { class: "hint", role: "status" });
    app.slot.replaceChildren(this.hint);
    host.replaceChildren(h("div", { class: "loading", role: "status" }, "Loading …"));
    this.timer = setInterval(() => document.visibilityState === "visible" && this.load(), EVERY_MS);
    this.load();
  }

  destroy() {
    this.#gone = true;
    clearInterval(this.timer);
    this.app.slot.replaceChildren();
  }

  async load() {
    try {
      const [campaign, progress] = await Promise.all([this.app.api.json("GET", "campaign"), this.app.api.json("GET", "progress")]);
      if (this.#gone) return;
      this.hint.textContent = `As of ${new Date().toLocaleTimeString()}`;
      const now = JSON.stringify([campaign, progress]);
      if (now !== this.#last) this.#draw(campaign, progress); // nothing moves under the reader otherwise
      this.#last = now;
    } catch (error) {
      if (!(error instanceof Offline || error instanceof Problem)) throw error;
      if (!this.#gone) this.hint.textContent = `Not up to date: ${error.message}`;
    }
  }

  #draw(campaign, progress) {
    const parts = [this.#head(campaign, progress), this.#curves(campaign.rounds), h("div", { class: "two" }, this.#raters(campaign.raters, progress), this.#rounds(campaign.rounds)), this.#next(campaign.next)];
    const { scrollTop } = this.host;
    this.host.replaceChildren(h("div", { class: "pagewide" }, ...parts));
    this.host.scrollTop = scrollTop;
  }

  #head({ name, status, reason, round, rounds, raters }, progress) {
    const last = [...rounds].reverse().find((one) => one.metrics.dice !== undefined);
    const seconds = raters.reduce((sum, one) => sum + (one.seconds ?? 0), 0);
    const pixels = Math.max(0, ...rounds.map((one) => one.annotated_pixels ?? 0));
    const tiles = [
      ["Round", round ?? "–", `${rounds.length} so far`],
      ["Regions in this round", `${progress.done} of ${progress.total}`, progress.tasks.disputed ? `${progress.tasks.disputed} disputed` : `${Object.keys(progress.active).length} in work`],
      ["Annotated pixels", short(pixels), "trained on last"],
      ...(last ? [["Dice", last.metrics.dice.toFixed(3), `round ${last.index}`]] : []),
      ...(last?.metrics.ece !== undefined ? [["ECE", last.metrics.ece.toFixed(3), `round ${last.index}`]] : []),
      ...(seconds ? [["Raters' time", clockTime(1000 * seconds), "at work, pauses left out"]] : []),
    ];
    return h("header", {}, h("h1", {}, name), h("p", { class: "state" }, h("span", { class: `badge ${status}` }, status), h("span", {}, reason || "")),
      h("progress", { class: "widebar", max: Math.max(1, progress.total), value: progress.done, "aria-label": "Regions done in this round" }),
      h("dl", { class: "tiles" }, ...tiles.map(([what, value, says]) => h("div", {}, h("dt", {}, what), h("dd", {}, String(value)), h("dd", { class: "says" }, says)))));
  }

  #curves(rounds) {
    const of = (name, against) => rounds.filter((one) => one.metrics[name] !== undefined && against(one) !== null)
      .map((one) => [against(one), one.metrics[name], `round ${one.index}: ${one.metrics[name].toFixed(4)}`]);
    const learning = QUALITY.map(([name, words], mark) => ({ name: words, mark, points: of(name, (one) => one.annotated_pixels) })).filter((one) => one.points.length);
    const charts = learning.length ? [lineChart({ title: "Learning", note: "On the test set, against what the model was trained on.", x: "annotated pixels", y: learning.map((one) => one.name).join(", "), series: learning })] : [];
    CALIBRATION.forEach(([name, words, brief], mark) => {
      const points = of(name, (one) => one.index);
      if (points.length) charts.push(lineChart({ title: `Calibration: ${brief}`, note: `The ${words} on the test set, by round; less is better.`, x: "round", y: brief, series: [{ name: brief, mark: mark + 1, points }] }));
    });
    return charts.length ? h("section", { "aria-label": "Curves", class: "charts" }, ...charts.slice(0, 3)) : h("p", { class: "card hint" }, "No model has been measured yet: the first round is labelled before there is one.");
  }

  #raters(raters, progress) {
    const rows = raters.map(({ name, labels, seconds, agreement }) => h("tr", {}, h("th", { scope: "row" }, name, progress.active[name] ? h("span", { class: "at", title: "holds a task now" }, "at work") : null),
      h("td", {}, count(labels)), h("td", {}, seconds === null ? "–" : clockTime(1000 * seconds)), h("td", {}, seconds && labels ? clockTime((1000 * seconds) / labels) : "–"), h("td", {}, agreement === null ? "–" : agreement.toFixed(3))));
    return this.#table("Raters", ["rater", "labels", "time at work", "a label", "agreement (Dice)"], rows, "Nobody has submitted anything yet.");
  }

  #rounds(rounds) {
    const rows = [...rounds].reverse().map((one) => h("tr", {}, h("th", { scope: "row" }, one.index), h("td", {}, one.phase), h("td", {}, count(one.queries)),
      h("td", {}, one.annotated_pixels === null ? "–" : short(one.annotated_pixels)), h("td", {}, one.metrics.dice?.toFixed(3) ?? "–"), h("td", {}, one.metrics.ece?.toFixed(3) ?? "–")));
    return this.#table("Rounds", ["round", "reached", "queries", "trained on", "Dice", "ECE"], rows, "The campaign has not begun.");
  }

  #table(title, columns, rows, none) {
    return h("section", { class: "card", "aria-label": title }, h("h2", {}, title), rows.length
      ? h("div", { class: "scrollx", tabindex: "0", role: "region", "aria-label": title }, h("table", {}, h("thead", {}, h("tr", {}, ...columns.map((word) => h("th", { scope: "col" }, word)))), h("tbody", {}, ...rows)))
      : h("p", { class: "hint" }, none));
  }

  #next(next) {
    const cards = next.slice(0, SHOWN).map(({ task, item, box, score, state }) => {
      const sizes = box.stop.map((stop, axis) => stop - box.start[axis]), slice = sizes.length > 2 ? Math.floor(sizes[0] / 2) : 0;
      return h("li", {}, h("img", { src: `/api/v1/tasks/${encodeURIComponent(task)}/image.png?slice=${slice}`, alt: "", loading: "lazy", width: 160, height: 160 }),
        h("b", {}, item), h("span", { class: "hint" }, `${sizes.join(" × ")} · score ${short(score)}`), h("span", { class: `badge small ${state}` }, state));
    });
    const rest = next.length > SHOWN ? ` ${next.length - SHOWN}${next.length >= 200 ? " or more" : ""} others follow.` : "";
    return h("section", { "aria-label": "What comes next" }, h("h2", {}, "What comes next"), cards.length
      ? h("p", { class: "hint" }, `The regions that wait, disputed ones first.${rest}`) : h("p", { class: "hint" }, "No region waits for a label."), h("ul", { class: "cards" }, ...cards));
  }
}
