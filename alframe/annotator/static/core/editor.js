/**
 * What a rater does to a label buffer: brush, eraser, suggestion brush, polygon, fill, undo and redo. Knows no screen.
 *
 * Points are image coordinates (x, y; pixel n covers n … n + 1). `onStroke(change)` is told of each finished stroke,
 * `takeDirty()` gives the rectangle that has to be drawn again.
 */

import { History } from "./history.js";
import { BACKGROUND, Labels, union } from "./labels.js";
import { capsule, corner, flood, polygon, snap } from "./raster.js";

export const TOOLS = ["brush", "eraser", "polygon", "fill", "suggestion"];
export const MOST_SIZE = 400;

export class Editor {
  #last = null;
  #stroke = null;
  #dirty = null;

  constructor(shape, data, { suggestion = null, history = new History() } = {}) {
    this.labels = new Labels(shape, data);
    this.history = history;
    this.suggestion = suggestion;
    Object.assign(this, { tool: "brush", size: 24, value: 1, z: 0, frozen: false, points: [], edits: 0, onStroke: () => {} });
  }

  /** Whether a stroke or a polygon is under way. */
  get busy() { return this.#stroke !== null || this.points.length > 0; }

  /** The rectangle of the present slice that changed since the last call, or null. */
  takeDirty() {
    const rect = this.#dirty;
    this.#dirty = null;
    return rect;
  }

  down(x, y, { erase = false } = {}) {
    if (this.frozen || this.#stroke) return;
    const tool = erase ? "eraser" : this.tool;
    if (tool === "polygon") this.#vertex(x, y);
    else if (tool === "fill") this.#fill(Math.floor(x), Math.floor(y));
    else if (tool !== "suggestion" || this.suggestion) {
      this.labels.begin();
      this.#stroke = { tool, value: tool === "eraser" ? BACKGROUND : this.value, size: this.size };
      this.#last = snap(x, y, this.size);
      this.#stamp(this.#last);
    }
  }

  move(x, y) {
    if (this.#stroke) this.#stamp(snap(x, y, this.#stroke.size));
  }

  up() {
    if (!this.#stroke) return;
    this.#stroke = null;
    this.#finish(this.labels.end());
  }

  /** Take back the stroke under way, or the polygon's points. */
  cancel() {
    this.points = [];
    if (!this.#stroke) return;
    this.#stroke = null;
    const change = this.labels.end();
    if (change) {
      this.labels.toggle(change);
      this.#dirty = union(this.#dirty, change.rect);
    }
  }

  #stamp(to) {
    const { value, size, tool } = this.#stroke, { width, height } = this.labels, z = this.z;
    const source = tool === "suggestion" ? this.suggestion : null;
    capsule(this.#last, to, size, width, height, (y, from, end) => this.labels.span(z, y, from, end, value, source));
    const reach = size / 2 + 1;
    this.#touch(Math.min(this.#last[0], to[0]) - reach, Math.min(this.#last[1], to[1]) - reach, Math.max(this.#last[0], to[0]) + reach, Math.max(this.#last[1], to[1]) + reach);
    this.#last = to;
  }

  #touch(x0, y0, x1, y1) {
    const { width, height } = this.labels;
    const rect = { x0: Math.max(0, Math.floor(x0)), y0: Math.max(0, Math.floor(y0)), x1: Math.min(width, Math.ceil(x1)), y1: Math.min(height, Math.ceil(y1)) };
    if (rect.x0 < rect.x1 && rect.y0 < rect.y1) this.#dirty = union(this.#dirty, rect);
  }

  #finish(change) {
    if (!change) return;
    this.history.push(change);
    this.#changed(change);
  }

  #changed(change) {
    if (change.z === this.z) this.#dirty = union(this.#dirty, change.rect);
    this.edits += 1;
    this.onStroke(change);
  }

  // -- polygon and fill

  #vertex(x, y) {
    const next = corner(x, y), last = this.points.at(-1);
    if (!last || last[0] !== next[0] || last[1] !== next[1]) this.points.push(next);
  }

  /** Draw the polygon's outline free-hand. */
  drag(x, y, distance) {
    const last = this.points.at(-1);
    if (last && Math.hypot(x - last[0], y - last[1]) >= distance) this.#vertex(x, y);
  }

  dropVertex() { this.points.pop(); }

  closePolygon() {
    const points = this.points, { width, height } = this.labels;
    this.points = [];
    if (points.length < 3 || this.frozen) return;
    this.labels.begin();
    polygon(points, width, height, (y, from, to) => this.labels.span(this.z, y, from, to, this.value));
    this.#finish(this.labels.end());
  }

  #fill(x, y) {
    const { width, height } = this.labels;
    if (x < 0 || y < 0 || x >= width || y >= height || this.labels.at(this.z, y, x) === this.value) return;
    this.labels.begin();
    flood(this.labels.plane(this.z), width, height, x, y, (row, from, to) => this.labels.span(this.z, row, from, to, this.value));
    this.#finish(this.labels.end());
  }

  // -- history

  /** Undo the last stroke; the change undone, or null. The slice it is on becomes the present one. */
  undo() { return this.#turn(() => this.history.undo()); }

  redo() { return this.#turn(() => this.history.redo()); }

  #turn(take) {
    if (this.frozen || this.#stroke) return null;
    const change = take();
    if (!change) return null;
    this.labels.toggle(change);
    this.z = change.z;
    this.#changed(change);
    return change;
  }

  /** Replace everything, as one stroke that can be undone. */
  replace(data) {
    if (this.frozen) return;
    this.cancel();
    this.#finish(this.labels.replace(data));
  }
}
