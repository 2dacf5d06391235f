/** The panels beside the image. Each is {element, update()}; `bench` is the workbench that they show and steer. */

import { BACKGROUND, OPEN } from "../core/labels.js";
import { MOST_SIZE } from "../core/editor.js";
import { count, h, icon } from "./dom.js";

const panel = (title, ...content) => h("section", { class: "panel", "aria-label": title }, h("h2", {}, title), ...content);

/** The item, small, with the region and what of it is in sight. */
export function contextPanel(bench) {
  const { task } = bench.job, { context } = task;
  if (!context) return null;
  const canvas = h("canvas", { class: "context", role: "img", "aria-label": `The whole of ${task.item} with the region outlined` });
  const where = h("p", { class: "hint" });
  const [y0, x0, y1, x1] = context.box;
  const draw = async () => {
    const picture = await bench.assets.context(bench.editor.z).catch(() => null);
    const wide = canvas.parentElement.clientWidth || 240, high = Math.min(148, Math.round((wide * context.height) / context.width)), ratio = devicePixelRatio || 1;
    const scale = Math.min(wide / context.width, high / context.height);
    Object.assign(canvas, { width: Math.round(context.width * scale * ratio), height: Math.round(context.height * scale * ratio) });
    canvas.style.width = `${context.width * scale}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale * ratio, scale * ratio);
    if (picture) pen.drawImage(picture, 0, 0, context.width, context.height);
    const box = (x, y, width, height, colour, line) => {
      for (const [stroke, thick] of [["rgb(0 0 0 / .7)", line + 2], [colour, line]]) {
        Object.assign(pen, { strokeStyle: stroke, lineWidth: thick / scale });
        pen.strokeRect(x, y, width, height);
      }
    };
    const least = 6 / scale;
    box(x0, y0, Math.max(least, x1 - x0), Math.max(least, y1 - y0), "#fff", 1.6);
    const [vx0, vy0, vx1, vy1] = bench.stage.view.visible, [, height, width] = bench.assets.shape;
    if (vx1 - vx0 < width || vy1 - vy0 < height) {
      const sx = (x1 - x0) / width, sy = (y1 - y0) / height;
      box(x0 + vx0 * sx, y0 + vy0 * sy, (vx1 - vx0) * sx, (vy1 - vy0) * sy, "#ffd60a", 1.2);
    }
  };
  let waiting = false;
  const update = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
  const sizes = task.item_shape.slice(-2), region = task.shape.slice(-2);
  where.textContent = `${region[1]} × ${region[0]} of ${sizes[1]} × ${sizes[0]} pixels`;
  return { element: panel("Where it is", h("div", { class: "thumb" }, canvas), where), update };
}

/** Classes to paint with, and their locks. */
export function classPanel(bench) {
  const rows = new Map();
  const list = h("div", { class: "classes", role: "radiogroup", "aria-label": "Class to paint with" });
  const choices = [...bench.job.task.classes.map((one) => ({ ...one, key: one.id <= 9 ? String(one.id) : "" })), { id: OPEN, name: "left open", colour: null, key: "U" }];
  for (const { id, name, colour, key } of choices) {
    const swatch = h("span", { class: `swatch ${id === OPEN ? "open" : id === BACKGROUND ? "none" : ""}` });
    if (colour && id !== BACKGROUND) swatch.style.background = colour;
    const share = h("span", { class: "share" });
    const choose = h("button", { type: "button", role: "radio", class: "class", "aria-checked": "false", onclick: () => bench.useClass(id), onkeydown: (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = choices[(choices.findIndex((one) => one.id === id) + step + choices.length) % choices.length].id;
      bench.useClass(next);
      rows.get(next).choose.focus();
    } }, swatch, h("span", { class: "name" }, name), share, key ? h("kbd", {}, key) : null);
    const lock = h("button", { type: "button", class: "lock", "aria-pressed": "false", "aria-label": `Lock ${name}`, title: `Lock: ${name} cannot be painted over${key ? `  ·  Shift + ${key}` : ""}`, onclick: () => bench.toggleLock(id) }, icon("lock"));
    rows.set(id, { choose, lock, share });
    list.append(h("div", { class: "row" }, choose, lock));
  }
  const update = () => {
    const { labels, value } = bench.editor, total = labels.data.length;
    for (const [id, { choose, lock, share }] of rows) {
      choose.setAttribute("aria-checked", String(id === value));
      choose.tabIndex = id === value ? 0 : -1;
      lock.setAttribute("aria-pressed", String(Boolean(labels.locked[id])));
      const part = (100 * labels.counts[id]) / total;
      share.textContent = part === 0 ? "" : part < 0.1 ? "< 0.1 %" : `${part.toFixed(part < 10 ? 1 : 0)} %`;
    }
  };
  return { element: panel("Classes", list), update };
}

/** What the model said: take it over, leave it, compare. */
export function modelPanel(bench) {
  const { task } = bench.job;
  if (!task.prefill && !task.uncertainty) {
    return { element: panel("Model", h("p", { class: "hint" }, task.blind ? "Without the model's suggestion, to measure how much suggestions sway us." : "There is no suggestion for this region.")), update() {} };
  }
  const toggle = (name, label, key) => {
    const box = h("input", { type: "checkbox", onchange: () => bench.toggle(name, box.checked) });
    return { box, element: h("label", { class: "check" }, box, h("span", {}, label), h("kbd", {}, key)) };
  };
  const outline = task.prefill ? toggle("outline", "Outline of the suggestion", "S") : null;
  const heat = task.uncertainty ? toggle("heat", "Uncertainty", "H") : null;
  const strength = h("input", { type: "range", min: 10, max: 100, "aria-label": "Strength of the uncertainty map", oninput: () => bench.setHeat(strength.value / 100) });
  const scale = h("div", { class: "heat" }, h("span", {}, "certain"), h("i", {}), h("span", {}, "uncertain"), strength);
  const start = h("input", { type: "checkbox", onchange: () => { bench.settings.start = start.checked; } });
  const state = h("p", { class: "hint" });
  const buttons = task.prefill ? h("div", { class: "again" }, h("span", {}, "Restart"),
    h("button", { type: "button", onclick: () => bench.takeSuggestion() }, "suggested"),
    h("button", { type: "button", onclick: () => bench.clear() }, "empty")) : null;
  const update = () => {
    if (outline) outline.box.checked = bench.shown.outline;
    if (heat) { heat.box.checked = bench.shown.heat; scale.hidden = !bench.shown.heat; strength.value = Math.round(bench.settings.heatOpacity * 100); }
    start.checked = bench.settings.start;
  };
  let timer = 0;
  const compare = () => {
    const { suggestion, labels } = bench.editor;
    const differing = suggestion ? labels.differing(suggestion) : null;
    if (differing !== null) state.textContent = differing ? `${count(differing)} pixels unlike its suggestion` : "Exactly as it suggested: look twice";
  };
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(compare, 250);
  };
  return {
    element: panel("Model", task.prefill ? state : null, buttons, outline?.element, heat?.element, heat ? scale : null,
      task.prefill ? h("label", { class: "check" }, start, h("span", {}, "Start tasks from it")) : null),
    update,
    changed,
  };
}

/** Brush size, opacity, window. */
export function viewPanel(bench) {
  const slider = (label, attributes, input) => {
    const value = h("output", {}), range = h("input", { type: "range", "aria-label": label, ...attributes, oninput: () => input(Number(range.value)) });
    return { range, value, element: h("div", { class: "slider" }, h("span", {}, label), range, value) };
  };
  // sizes go by their square root: fine steps where they are small
  const size = slider("Brush", { min: 1, max: Math.sqrt(MOST_SIZE), step: 0.05 }, (root) => bench.setSize(Math.round(root * root)));
  const opacity = slider("Labels", { min: 0, max: 100 }, (part) => bench.setOpacity(part / 100));
  const parts = [size.element, opacity.element];
  const { image } = bench.job.task;
  let level, window;
  if (bench.assets.grey) {
    const span = Math.max(image.max - image.min, 1e-6), step = Number.isInteger(image.min) && Number.isInteger(image.max) && span > 50 ? 1 : span / 500;
    level = slider("Level", { min: image.min, max: image.max, step }, () => bench.setWindow(Number(window.range.value), Number(level.range.value)));
    window = slider("Window", { min: step, max: span, step }, () => bench.setWindow(Number(window.range.value), Number(level.range.value)));
    parts.push(window.element, level.element, h("div", { class: "pair" }, h("button", { type: "button", onclick: () => bench.autoWindow() }, "Automatic window")));
  }
  const round = (value) => (Math.abs(value) >= 100 || Number.isInteger(value) ? Math.round(value) : Number(value.toPrecision(3))).toLocaleString("en-GB");
  const update = () => {
    size.range.value = Math.sqrt(bench.editor.size);
    size.value.textContent = `${bench.editor.size} px`;
    opacity.range.value = Math.round(bench.settings.opacity * 100);
    opacity.value.textContent = `${Math.round(bench.settings.opacity * 100)} %`;
    if (!level) return;
    const { low, high } = bench.assets.window;
    level.range.value = (low + high) / 2;
    window.range.value = high - low;
    level.value.textContent = round((low + high) / 2);
    window.value.textContent = round(high - low);
  };
  return { element: panel("Drawing", ...parts), update };
}
