/**
 * The drawing surface: three canvases of the size of the viewport, one over the other. The image (with heat map and the
 * suggestion's outline) is drawn when the view changes; of the labels only what a stroke touched; the marks (brush ring, polygon,
 * cross-hair) are drawn as the pointer moves. At most once a frame.
 */

import { drawLabels } from "../core/pixels.js";
import { union } from "../core/labels.js";
import { View } from "../core/view.js";
import { h } from "./dom.js";

export class Stage {
  #scheduled = false;
  #viewChanged = true;
  #imageChanged = true;
  #marksChanged = true;
  #dirty = null;
  #scratch = new Uint32Array(0);
  #destroyed = false;

  /** Several stages of one size may share a `view`: then they move together (`onView` has to redraw the others). */
  constructor(width, height, label, view = new View(width, height)) {
    Object.assign(this, { width, height, image: null, heat: null, heatAlpha: 0.6, outline: null, labelsShown: true, table: null });
    this.plane = new Uint8Array(width * height);
    this.drawMarks = () => {};
    this.onView = () => {};
    this.frames = { work: 0, count: 0 };
    this.view = view;
    this.overlay = Object.assign(document.createElement("canvas"), { width, height });
    this.layers = ["image", "labels", "marks"].map((name) => h("canvas", { class: `layer ${name}`, "aria-hidden": "true" }));
    this.element = h("div", { class: "stage", tabindex: "0", role: "application", "aria-label": label, "aria-roledescription": "drawing area" }, ...this.layers);
    [this.imageLayer, this.labelLayer, this.markLayer] = this.layers.map((canvas) => canvas.getContext("2d"));
    this.over = this.overlay.getContext("2d");
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
  }

  destroy() {
    this.#destroyed = true;
    this.observer.disconnect();
    for (const canvas of [...this.layers, this.overlay]) canvas.width = canvas.height = 0; // frees the memory now
  }

  resize() {
    const { clientWidth, clientHeight } = this.element, ratio = window.devicePixelRatio || 1;
    if (!clientWidth || !clientHeight) return;
    for (const canvas of this.layers) Object.assign(canvas, { width: Math.round(clientWidth * ratio), height: Math.round(clientHeight * ratio) });
    this.view.resize(clientWidth, clientHeight, ratio);
    this.viewChanged();
  }

  viewChanged() {
    this.#viewChanged = true;
    Object.assign(this.element.dataset, { scale: this.view.scale, x: this.view.x, y: this.view.y });
    this.schedule();
    this.onView();
  }

  /** The shared view moved: draw what it shows now. */
  follow() { this.#viewChanged = true; this.schedule(); }

  imageChanged() { this.#imageChanged = true; this.schedule(); }
  marksChanged() { this.#marksChanged = true; this.schedule(); }

  /** The labels within a rectangle changed; without one, all of them. */
  labelsChanged(rect = { x0: 0, y0: 0, x1: this.width, y1: this.height }) {
    this.#dirty = union(this.#dirty, rect);
    this.schedule();
  }

  schedule() {
    if (this.#scheduled || this.#destroyed) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.#frame());
  }

  #frame() {
    this.#scheduled = false;
    if (this.#destroyed) return;
    const began = performance.now(), moved = this.#viewChanged, dirty = this.#dirty;
    this.#viewChanged = false;
    this.#dirty = null;
    if (dirty && this.table) this.#bake(dirty);
    if (moved || this.#imageChanged) this.#drawImage();
    if (moved) this.#drawOverlay({ x0: 0, y0: 0, x1: this.width, y1: this.height });
    else if (dirty) this.#drawOverlay(dirty);
    if (moved || this.#marksChanged) this.#drawMarks();
    this.#imageChanged = this.#marksChanged = false;
    this.frames.work = performance.now() - began;
    this.frames.count += 1;
  }

  #bake(dirty) {
    // a pixel's contour depends on its neighbours
    const rect = { x0: Math.max(0, dirty.x0 - 1), y0: Math.max(0, dirty.y0 - 1), x1: Math.min(this.width, dirty.x1 + 1), y1: Math.min(this.height, dirty.y1 + 1) };
    const wide = rect.x1 - rect.x0, high = rect.y1 - rect.y0, size = wide * high;
    if (this.#scratch.length < size) this.#scratch = new Uint32Array(Math.max(size, Math.min(2 * size, 1 << 20)));
    const words = this.#scratch.subarray(0, size);
    drawLabels(this.plane, this.width, this.height, rect, this.table, words);
    this.over.putImageData(new ImageData(new Uint8ClampedArray(words.buffer, 0, 4 * size), wide, high), rect.x0, rect.y0);
    if (size > 1 << 20) this.#scratch = new Uint32Array(0);
  }

  #place(context, smooth) {
    const { scale, x, y, ratio } = this.view;
    context.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
    context.imageSmoothingEnabled = smooth;
  }

  #drawImage() {
    const context = this.imageLayer, { scale, ratio } = this.view;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    if (!this.image) return;
    this.#place(context, scale * ratio < 3);
    context.imageSmoothingQuality = "medium";
    context.drawImage(this.image, 0, 0);
    if (this.heat) {
      context.globalAlpha = this.heatAlpha;
      context.imageSmoothingEnabled = true;
      context.drawImage(this.heat, 0, 0);
      context.globalAlpha = 1;
    }
    if (this.outline) {
      const line = 1 / scale;
      context.lineJoin = "round";
      for (const [colour, thick, dash] of [["rgb(0 0 0 / .6)", 3.2, []], ["#fff", 1.4, [5 * line, 3 * line]]]) {
        context.setLineDash(dash);
        Object.assign(context, { strokeStyle: colour, lineWidth: thick * line });
        context.stroke(this.outline);
      }
      context.setLineDash([]);
    }
  }

  #drawOverlay(rect) {
    const context = this.labelLayer, { scale, x, y, ratio } = this.view, { canvas } = context;
    // whole device pixels around the rectangle; clipped to them, so that parts drawn apart meet exactly
    const reach = 1 + Math.ceil(1 / (scale * ratio));
    const left = Math.max(0, Math.floor((rect.x0 * scale + x) * ratio) - reach), top = Math.max(0, Math.floor((rect.y0 * scale + y) * ratio) - reach);
    const right = Math.min(canvas.width, Math.ceil((rect.x1 * scale + x) * ratio) + reach), bottom = Math.min(canvas.height, Math.ceil((rect.y1 * scale + y) * ratio) + reach);
    if (right <= left || bottom <= top) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(left, top, right - left, bottom - top);
    if (!this.labelsShown) return;
    context.save();
    context.beginPath();
    context.rect(left, top, right - left, bottom - top);
    context.clip();
    this.#place(context, scale * ratio < 1);
    const margin = 2 + Math.ceil(reach / (scale * ratio));
    const x0 = Math.max(0, Math.floor((left / ratio - x) / scale) - margin), y0 = Math.max(0, Math.floor((top / ratio - y) / scale) - margin);
    const x1 = Math.min(this.width, Math.ceil((right / ratio - x) / scale) + margin), y1 = Math.min(this.height, Math.ceil((bottom / ratio - y) / scale) + margin);
    if (x1 > x0 && y1 > y0) context.drawImage(this.overlay, x0, y0, x1 - x0, y1 - y0, x0, y0, x1 - x0, y1 - y0);
    context.restore();
  }

  #drawMarks() {
    const context = this.markLayer, { scale, x, y, ratio } = this.view;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.view.viewWidth, this.view.viewHeight);
    context.lineWidth = 1;
    context.strokeStyle = "rgb(127 127 127 / .9)";
    context.strokeRect(x - 0.5, y - 0.5, this.width * scale + 1, this.height * scale + 1);
    this.drawMarks(context, this.view);
  }
}

/** The borders between the classes of a plane as a path along the pixels' edges, in image coordinates. */
export function contour(plane, width, height) {
  const path = new Path2D();
  const run = (count, length, differs, line) => {
    for (let row = 1; row < count; row += 1) {
      for (let at = 0; at < length; at += 1) {
        if (!differs(row, at)) continue;
        const from = at;
        while (at < length && differs(row, at)) at += 1;
        line(row, from, at);
      }
    }
  };
  run(height, width, (y, x) => plane[y * width + x] !== plane[(y - 1) * width + x], (y, from, to) => { path.moveTo(from, y); path.lineTo(to, y); });
  run(width, height, (x, y) => plane[y * width + x] !== plane[y * width + x - 1], (x, from, to) => { path.moveTo(x, from); path.lineTo(x, to); });
  return path;
}
