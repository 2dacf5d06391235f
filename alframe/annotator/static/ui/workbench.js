/**
 * The editing view of one task: tools, stage, panels. It knows nothing of leases: whoever opens it is told of strokes
 * (`onStroke`) and asked to `submit` and `decline`.
 *
 * `job`: {task, labels (Uint8Array), onStroke(), submit(), decline() | null, submitLabel(), footer nodes}.
 */

import { BACKGROUND, OPEN } from "../core/labels.js";
import { Editor, MOST_SIZE } from "../core/editor.js";
import { h, iconButton } from "./dom.js";
import { keyboardCursor } from "./cursor.js";
import { drawMarks } from "./marks.js";
import { note } from "./dialog.js";
import { classPanel, contextPanel, modelPanel, viewPanel } from "./panels.js";
import { listen } from "./pointer.js";
import { bind, help } from "./shortcuts.js";
import { sliceBar } from "./slices.js";
import { Stage } from "./stage.js";
import { viewing } from "./viewing.js";

const BUTTONS = [
  ["brush", "Brush", "B"], ["eraser", "Eraser", "E"], ["polygon", "Polygon", "P"], ["fill", "Fill", "F"], ["suggestion", "Suggestion brush", "M"],
];

export class Workbench {
  #held = { space: false, eraser: null };
  #updating = false;

  constructor(settings, assets, job) {
    Object.assign(this, { settings, assets, job, hover: null, cursor: null, penDown: false, reading: null });
    const [depth, height, width] = assets.shape;
    this.editor = new Editor(assets.shape, job.labels, { suggestion: assets.suggestion });
    this.editor.size = Math.min(settings.size, MOST_SIZE);
    this.editor.value = Math.min(1, job.task.classes.length - 1);
    this.editor.z = depth > 1 ? Math.floor(depth / 2) : 0;
    this.editor.onStroke = (change) => this.#stroke(change);
    this.shown = { labels: true, heat: false, outline: false };
    this.stage = new Stage(width, height, `Region of ${job.task.item}: draw with the pointer, or with arrows and Enter`);
    this.stage.heatAlpha = settings.heatOpacity;
    this.stage.drawMarks = (context, view) => drawMarks(context, view, this.#marks());
    this.stage.onView = () => this.refresh();
    this.live = h("p", { class: "sr", role: "status" });
    this.#build();
    this.setOpacity(settings.opacity);
    this.unbind = [bind(this), listen(this.stage.element, this.#gestures())];
    this.goSlice(this.editor.z);
    for (const part of this.parts) part.changed?.(this.editor.z);
  }

  destroy() {
    for (const undo of this.unbind) undo();
    this.stage.destroy();
  }

  #build() {
    this.tools = new Map(BUTTONS.filter(([name]) => name !== "suggestion" || this.assets.suggestion).map(([name, label, key]) => [
      name, iconButton(name, label, { "aria-pressed": "false", onclick: () => this.useTool(name) }, key)]));
    this.back = iconButton("undo", "Undo", { onclick: () => this.undo() }, "Ctrl + Z");
    this.forth = iconButton("redo", "Redo", { onclick: () => this.redo() }, "Ctrl + Y");
    const zoom = [iconButton("plus", "Zoom in", { onclick: () => this.zoom(1.25) }, "+"), iconButton("minus", "Zoom out", { onclick: () => this.zoom(0.8) }, "−"),
      iconButton("fit", "Fit into the window", { onclick: () => this.fit() }, "R")];
    const bar = h("div", { class: "tools", role: "toolbar", "aria-label": "Tools", "aria-orientation": "vertical" },
      ...this.tools.values(), h("hr"), this.back, this.forth, h("hr"), ...zoom, h("span", { class: "push" }), iconButton("help", "Keys", { onclick: () => help(this.settings) }, "?"));
    this.slices = sliceBar(this);
    this.parts = [contextPanel(this), classPanel(this), viewPanel(this), modelPanel(this), this.slices].filter(Boolean);
    this.veil = h("div", { class: "veil", hidden: true });
    this.banner = h("div", { class: "banner", role: "status", hidden: true });
    const middle = h("div", { class: "middle" }, this.banner, this.stage.element, this.slices?.element, this.veil, this.live);
    const side = h("aside", { class: "panels", "aria-label": "Task" }, h("div", { class: "scroll", tabindex: "-1" }, ...this.parts.filter((part) => part !== this.slices).map((part) => part.element)),
      h("div", { class: "footer" }, ...this.job.footer));
    this.element = h("div", { class: "bench" }, bar, middle, side);
  }

  #marks() {
    const tool = this.#held.eraser?.on ? "eraser" : this.editor.tool;
    return { editor: this.editor, tool: this.#held.space ? "pan" : tool, colour: this.#colour(), hover: this.hover, cursor: this.cursor, penDown: this.penDown };
  }

  #colour() { return this.job.task.classes.find((one) => one.id === this.editor.value && one.id !== BACKGROUND)?.colour ?? "#fff"; }

  #gestures() {
    const { view } = this.stage, { editor } = this;
    return {
      grey: this.assets.grey,
      depth: this.assets.shape[0],
      panning: () => this.#held.space,
      down: (x, y, { erase }) => {
        const at = view.toImage(x, y), first = editor.points[0];
        this.cursor = null;
        if (editor.tool === "polygon" && first && editor.points.length > 2 && Math.hypot(...view.toScreen(...first).map((value, axis) => value - [x, y][axis])) < 9) return this.drawn(() => editor.closePolygon());
        return this.drawn(() => editor.down(...at, { erase: erase || Boolean(this.#held.eraser?.on) }));
      },
      move: (points) => this.drawn(() => {
        for (const point of points) {
          const at = view.toImage(...point);
          editor.move(...at);
          editor.drag(...at, Math.max(1.5, 6 / view.scale));
        }
      }),
      up: () => this.drawn(() => editor.up()),
      cancel: () => this.drawn(() => editor.cancel()),
      hover: (x, y) => {
        this.hover = x === null ? null : view.toImage(x, y);
        this.stage.marksChanged();
      },
      pan: (dx, dy) => { view.pan(dx, dy); this.stage.viewChanged(); },
      zoom: (x, y, factor) => { view.zoomAt(x, y, factor); this.stage.viewChanged(); },
      slices: (step) => this.step(step > 0 ? -1 : 1),
      resize: (step) => this.resizeBrush(step),
      level: (dx, dy) => {
        const { low, high } = this.assets.window, unit = (this.job.task.image.high - this.job.task.image.low || 1) / 300;
        this.setWindow(Math.max(unit, high - low + dx * unit), (low + high) / 2 + dy * unit);
      },
    };
  }

  /** Do something to the labels and show what changed. */
  drawn(work) {
    const z = this.editor.z;
    work();
    if (this.editor.z !== z) this.goSlice(this.editor.z);
    const rect = this.editor.takeDirty();
    if (rect) this.stage.labelsChanged(rect);
    this.stage.marksChanged();
  }

  #stroke(change) {
    this.refresh();
    for (const part of this.parts) part.changed?.(change.z);
    this.job.onStroke(change);
  }

  /** Bring buttons and panels up to date, at most once a frame. */
  refresh() {
    if (this.#updating) return;
    this.#updating = true;
    requestAnimationFrame(() => {
      this.#updating = false;
      for (const [name, button] of this.tools) button.setAttribute("aria-pressed", String(name === this.editor.tool));
      this.back.disabled = !this.editor.history.undoable || this.editor.frozen;
      this.forth.disabled = !this.editor.history.redoable || this.editor.frozen;
      for (const part of this.parts) part.update();
      this.job.onRefresh?.();
    });
  }

  /** A line above the image, or none. */
  tell(content) {
    this.banner.replaceChildren(...(content ?? []));
    this.banner.hidden = !content;
  }

  say(text) { this.live.textContent = text; }

  /** No strokes while something is decided; `veil` covers the image with a message. */
  freeze(frozen, veil = null) {
    if (frozen) this.drawn(() => { this.editor.up(); this.editor.cancel(); });
    this.editor.frozen = frozen;
    this.penDown = false;
    this.veil.replaceChildren(...(veil ? [h("div", {}, ...veil)] : []));
    this.veil.hidden = !veil;
    this.refresh();
  }

  // -- tools and classes

  useTool(name) {
    if (!this.tools.has(name)) return;
    if (name !== this.editor.tool) this.drawn(() => { this.editor.up(); this.editor.cancel(); });
    if (name === "suggestion") this.job.onSuggestionSeen?.();
    this.penDown = false;
    this.editor.tool = name;
    this.say(BUTTONS.find((one) => one[0] === name)[1]);
    this.refresh();
    this.stage.marksChanged();
  }

  /** A tap chooses the eraser; held, it erases only meanwhile. */
  eraserKey(event) {
    if (event.type === "keydown") {
      if (!event.repeat) this.#held.eraser = { on: true, since: performance.now(), stroke: this.editor.edits };
    } else if (this.#held.eraser) {
      const { since, stroke } = this.#held.eraser;
      this.#held.eraser = null;
      if (performance.now() - since < 250 && stroke === this.editor.edits) this.useTool("eraser");
    }
    this.stage.marksChanged();
  }

  spaceKey(event) {
    this.#held.space = event.type === "keydown";
    this.stage.element.classList.toggle("grab", this.#held.space);
    this.stage.marksChanged();
  }

  useClass(id) {
    const found = this.job.task.classes.find((one) => one.id === id);
    if (!found && id !== OPEN) return;
    this.editor.value = id;
    if (this.editor.tool === "eraser" || this.editor.tool === "suggestion") this.useTool("brush");
    this.say(`Class ${found?.name ?? "left open"}`);
    this.refresh();
    this.stage.marksChanged();
  }

  toggleLock(id) {
    const found = this.job.task.classes.find((one) => one.id === id);
    if (!found && id !== OPEN) return;
    const { labels } = this.editor;
    labels.lock(id, !labels.locked[id]);
    this.say(`${found?.name ?? "Left open"} ${labels.locked[id] ? "locked" : "unlocked"}`);
    this.refresh();
  }

  setSize(size) {
    this.editor.size = Math.max(1, Math.min(MOST_SIZE, Math.round(size)));
    this.settings.size = this.editor.size;
    this.refresh();
    this.stage.marksChanged();
  }

  resizeBrush(step) {
    const { size } = this.editor;
    this.setSize(step > 0 ? Math.max(size + 1, size * 1.15) : Math.min(size - 1, size / 1.15));
  }

  undo() { this.drawn(() => this.editor.undo() ?? this.say("Nothing to undo")); }
  redo() { this.drawn(() => this.editor.redo() ?? this.say("Nothing to redo")); }

  // -- whole labels

  replace(data) { this.drawn(() => this.editor.replace(data)); }
  clear() { this.replace(new Uint8Array(this.editor.labels.data.length)); }

  takeSuggestion() {
    if (!this.assets.suggestion) return;
    this.job.onSuggestionSeen?.();
    this.replace(this.assets.suggestion);
  }

  copyFrom(step) {
    const { labels, z } = this.editor, from = z + step;
    if (from < 0 || from >= labels.depth) return note("There is no slice before this one");
    const next = labels.data.slice();
    next.set(labels.plane(from), z * labels.width * labels.height);
    return this.replace(next);
  }

  submit() { if (!this.editor.frozen) this.job.submit(); }
  decline() { if (!this.editor.frozen) this.job.decline?.(); }
}

Object.assign(Workbench.prototype, keyboardCursor, viewing);
