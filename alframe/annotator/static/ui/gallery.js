/** Several labels of one region side by side: the stages move together, and show the same slice. */

import { paintTable } from "../core/pixels.js";
import { View } from "../core/view.js";
import { h } from "./dom.js";
import { listen } from "./pointer.js";
import { Stage } from "./stage.js";

/** The colours of the map of differences: one class, drawn boldly. */
const APART = [{ id: 1, colour: "#e5007a" }];

export class Gallery {
  #undo = [];
  #wanted = null;

  /** `panels`: [{title, says, labels (Uint8Array), apart (bool: a map of differences), actions: nodes}]. */
  constructor(assets, classes, panels) {
    const [depth, height, width] = assets.shape;
    Object.assign(this, { assets, classes, depth, z: Math.floor(depth / 2), shown: true, opacity: 0.45 });
    this.view = new View(width, height, 6);
    this.panels = panels.map((panel) => this.#panel(panel, width, height));
    this.element = h("div", { class: "gallery" }, ...this.panels.map((one) => one.element));
    this.setOpacity(this.opacity);
    this.show(this.z);
  }

  destroy() {
    for (const undo of this.#undo) undo();
    for (const { stage } of this.panels) stage.destroy();
  }

  #panel({ title, says, labels, apart = false, actions = [] }, width, height) {
    const stage = new Stage(width, height, `${title}: ${says}`, this.view);
    stage.onView = () => this.#moved(stage);
    stage.element.classList.add("still");
    this.#undo.push(listen(stage.element, this.#gestures()));
    stage.element.addEventListener("keydown", (event) => this.#key(event));
    const element = h("figure", { class: "card seen" }, h("figcaption", {}, h("div", {}, h("b", {}, title), h("span", { class: "hint" }, says)), ...actions), stage.element);
    return { stage, labels, apart, element };
  }

  #gestures() {
    const none = () => {}, { view } = this;
    return {
      grey: false, depth: this.depth, panning: () => true, down: none, move: none, up: none, cancel: none, hover: none, level: none,
      pan: (dx, dy) => { view.pan(dx, dy); this.#moved(); },
      zoom: (x, y, factor) => { view.zoomAt(x, y, factor); this.#moved(); },
      slices: (step) => this.show(this.z - Math.sign(step)),
      resize: none,
    };
  }

  #key(event) {
    const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    if (step) this.view.pan(...step);
    else if (event.key === "+" || event.key === "-") this.view.zoomAt(this.view.viewWidth / 2, this.view.viewHeight / 2, event.key === "+" ? 1.25 : 0.8);
    else if (event.key === "PageUp" || event.key === "PageDown") this.show(this.z + (event.key === "PageUp" ? 1 : -1));
    else return;
    event.preventDefault();
    this.#moved();
  }

  #moved(from = null) { for (const { stage } of this.panels) if (stage !== from) stage.follow(); }

  fit() { this.view.fit(); this.#moved(); }

  setOpacity(opacity) {
    this.opacity = opacity;
    for (const { stage, apart } of this.panels) {
      stage.table = apart ? paintTable(APART, 0.85, 1) : paintTable(this.classes, opacity, Math.min(1, 0.35 + opacity));
      stage.labelsChanged();
    }
  }

  setShown(shown) {
    this.shown = shown;
    for (const { stage } of this.panels) { stage.labelsShown = shown; stage.labelsChanged(); }
  }

  async show(z) {
    this.z = Math.max(0, Math.min(this.depth - 1, z));
    const [, height, width] = this.assets.shape, from = this.z * height * width, wanted = (this.#wanted = {});
    for (const { stage, labels } of this.panels) {
      stage.plane = labels.subarray(from, from + height * width);
      stage.labelsChanged();
    }
    this.onSlice?.(this.z);
    const image = await this.assets.slice(this.z);
    if (this.#wanted !== wanted) return;
    for (const { stage } of this.panels) { stage.image = image; stage.imageChanged(); }
    this.assets.prefetch(this.z);
  }
}
