/** How the workbench shows things: opacity, heat map, window, zoom, slices. Mixed into the workbench. */

import { paintTable } from "../core/pixels.js";
import { note } from "./dialog.js";
import { contour } from "./stage.js";

export const viewing = {
  setOpacity(opacity) {
    this.settings.opacity = opacity;
    this.stage.table = paintTable(this.job.task.classes, opacity, Math.min(1, 0.35 + opacity));
    this.stage.labelsChanged();
    this.refresh();
  },

  setHeat(alpha) {
    this.settings.heatOpacity = this.stage.heatAlpha = alpha;
    this.stage.imageChanged();
  },

  toggle(name, on = !this.shown[name]) {
    const has = { labels: true, heat: this.job.task.uncertainty, outline: this.assets.suggestion };
    this.shown[name] = Boolean(on && has[name]);
    this.stage.labelsShown = this.shown.labels;
    this.say(`${{ labels: "Labels", heat: "Uncertainty", outline: "Suggestion" }[name]} ${this.shown[name] ? "shown" : "hidden"}`);
    if (this.shown.outline) this.job.onSuggestionSeen?.();
    if (name === "labels") this.stage.labelsChanged(); else this.goSlice(this.editor.z);
    this.refresh();
  },

  setWindow(window, level) {
    Object.assign(this.assets.window, { low: level - window / 2, high: level + window / 2 });
    this.goSlice(this.editor.z);
  },

  autoWindow() {
    const { low, high } = this.job.task.image;
    if (this.assets.grey) this.setWindow(high - low, (low + high) / 2);
  },

  zoom(factor) {
    const { view } = this.stage;
    const at = this.cursor ? view.toScreen(this.cursor.x, this.cursor.y) : this.hover ? view.toScreen(...this.hover) : [view.viewWidth / 2, view.viewHeight / 2];
    view.zoomAt(...at, factor);
    this.stage.viewChanged();
  },

  fit() { this.stage.view.fit(); this.stage.viewChanged(); },

  step(by) { this.goSlice(Math.max(0, Math.min(this.assets.shape[0] - 1, this.editor.z + by))); },

  /** Show slice z; the last call wins when pictures come late. */
  async goSlice(z) {
    const { editor, stage, assets } = this, [, height, width] = assets.shape;
    if (z !== editor.z) this.drawn(() => { editor.up(); editor.cancel(); });
    editor.z = z;
    stage.plane = editor.labels.plane(z);
    stage.outline = this.shown.outline && assets.suggestion ? contour(assets.suggestion.subarray(z * height * width, (z + 1) * height * width), width, height) : null;
    stage.labelsChanged();
    this.refresh();
    const wanted = (this.reading = {});
    try {
      const [image, heat] = await Promise.all([assets.slice(z), this.shown.heat ? assets.heatOf(z) : null]);
      if (this.reading !== wanted) return;
      Object.assign(stage, { image, heat });
      stage.imageChanged();
      assets.prefetch(z);
    } catch (error) {
      if (error.name !== "AbortError") note(`This slice could not be loaded: ${error.message}`, { kind: "bad" });
    }
  },
};
