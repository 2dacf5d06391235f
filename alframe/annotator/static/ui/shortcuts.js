/** The keys of the labelling view: one table for the handler and for the sheet behind `?`. */

import { ask, dialogOpen } from "./dialog.js";
import { h } from "./dom.js";

/**
 * `keys`: as shown; `match(event)`: whether it is meant; `run(bench, event)`. Single letters can be switched off (`settings.letters`).
 */
const letter = (key) => (event) => !event.ctrlKey && !event.metaKey && !event.altKey && event.key.toLowerCase() === key;
const sign = (...keys) => (event) => !event.ctrlKey && !event.metaKey && keys.includes(event.key);
const command = (key, shift = false) => (event) => (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === key && event.shiftKey === shift;
const digit = (shift) => (event) => !event.ctrlKey && !event.metaKey && !event.altKey && event.shiftKey === shift && /^(Digit|Numpad)\d$/.test(event.code);
const arrow = (event) => /^Arrow/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey;

export const SHORTCUTS = [
  { group: "Tools", keys: "B", says: "Brush", match: letter("b"), run: (bench) => bench.useTool("brush") },
  { group: "Tools", keys: "E", says: "Eraser; hold it to erase only meanwhile", match: letter("e"), run: (bench, event) => bench.eraserKey(event), up: true },
  { group: "Tools", keys: "P", says: "Polygon: click corners or draw; Enter or a click on the first corner closes", match: letter("p"), run: (bench) => bench.useTool("polygon") },
  { group: "Tools", keys: "F", says: "Fill what is connected", match: letter("f"), run: (bench) => bench.useTool("fill") },
  { group: "Tools", keys: "M", says: "Suggestion brush: paints what the model said", match: letter("m"), run: (bench) => bench.useTool("suggestion") },
  { group: "Tools", keys: "[  ]", says: "Smaller and larger brush (also Alt and wheel)", match: sign("[", "]"), run: (bench, event) => bench.resizeBrush(event.key === "]" ? 1 : -1) },
  { group: "Classes", keys: "0 … 9", says: "Paint with this class", match: digit(false), run: (bench, event) => bench.useClass(Number(event.code.at(-1))) },
  { group: "Classes", keys: "Shift + 0 … 9", says: "Lock this class: it cannot be painted over", match: digit(true), run: (bench, event) => bench.toggleLock(Number(event.code.at(-1))) },
  { group: "Classes", keys: "U", says: "Paint “left open”", match: letter("u"), run: (bench) => bench.useClass(255) },
  { group: "Strokes", keys: "Ctrl + Z", says: "Undo", match: command("z"), run: (bench) => bench.undo() },
  { group: "Strokes", keys: "Ctrl + Shift + Z, Ctrl + Y", says: "Redo", match: (event) => command("z", true)(event) || command("y")(event), run: (bench) => bench.redo() },
  { group: "Without a mouse", keys: "Arrows", says: "Move the cross-hair; with Shift ten pixels", match: arrow, run: (bench, event) => bench.moveCursor(event), stage: true },
  { group: "Without a mouse", keys: "Enter", says: "Put the pen down and lift it; fill; set a corner (twice at one place: close)", match: (event) => event.key === "Enter" && !event.ctrlKey && !event.metaKey, run: (bench) => bench.enterKey(), stage: true },
  { group: "Without a mouse", keys: "Esc", says: "Take back the stroke or polygon under way", match: sign("Escape"), run: (bench) => bench.escapeKey() },
  { group: "Without a mouse", keys: "Backspace", says: "Take back the polygon's last corner", match: sign("Backspace"), run: (bench) => bench.backKey() },
  { group: "View", keys: "Wheel, pinch, + −", says: "Zoom (in volumes: Ctrl and wheel)", match: sign("+", "=", "-"), run: (bench, event) => bench.zoom(event.key === "-" ? 0.8 : 1.25) },
  { group: "View", keys: "Space", says: "Hold and drag to move the image", match: (event) => event.key === " ", run: (bench, event) => bench.spaceKey(event), up: true, stage: true },
  { group: "View", keys: "R", says: "Fit into the window", match: letter("r"), run: (bench) => bench.fit() },
  { group: "View", keys: "L", says: "Show or hide the labels", match: letter("l"), run: (bench) => bench.toggle("labels") },
  { group: "View", keys: "H", says: "Show or hide the model's uncertainty", match: letter("h"), run: (bench) => bench.toggle("heat") },
  { group: "View", keys: "S", says: "Show or hide the outline of the suggestion", match: letter("s"), run: (bench) => bench.toggle("outline") },
  { group: "View", keys: "W", says: "Grey images: window back to automatic (drag with the right button to set it)", match: letter("w"), run: (bench) => bench.autoWindow() },
  { group: "View", keys: "Page Up, Page Down", says: "Volumes: other slice (also the wheel)", match: sign("PageUp", "PageDown"), run: (bench, event) => bench.step(event.key === "PageUp" ? 1 : -1) },
  { group: "Task", keys: "Ctrl + Enter", says: "Submit and go on", match: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey), run: (bench) => bench.submit() },
  { group: "Task", keys: "N", says: "Not possible: ambiguous, unusable, or skip", match: letter("n"), run: (bench) => bench.decline() },
  { group: "Task", keys: "?", says: "This sheet", match: sign("?"), run: (bench) => help(bench.settings) },
];

const typing = (target) => target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]");

/** Listen for the keys of a workbench until the returned function is called. */
export function bind(bench) {
  const handle = (event) => {
    if (dialogOpen() || typing(event.target) || event.isComposing) return;
    // keys go where the pointer is: a button that was pressed last keeps the focus, but nobody means it
    const on = event.target.closest?.(".stage") || bench.hover, control = event.target.closest?.("button, a, input, summary");
    for (const one of SHORTCUTS) {
      if (!one.match(event) || (event.type === "keyup" && !one.up)) continue;
      if (one.stage && !on && control) continue;
      if (!on && /^(Arrow|Page)/.test(event.key) && control?.matches("input")) continue;
      if (!bench.settings.letters && event.key.length === 1 && !on && !event.ctrlKey && !event.metaKey) continue;
      event.preventDefault();
      one.run(bench, event);
      return;
    }
  };
  addEventListener("keydown", handle);
  addEventListener("keyup", handle);
  return () => {
    removeEventListener("keydown", handle);
    removeEventListener("keyup", handle);
  };
}

/** The sheet of all keys. */
export function help(settings) {
  const groups = [...new Set(SHORTCUTS.map((one) => one.group))];
  const sections = groups.map((group) => h("section", {}, h("h3", {}, group), h("dl", {},
    ...SHORTCUTS.filter((one) => one.group === group).flatMap((one) => [
      h("dt", {}, ...one.keys.split(", ").flatMap((keys, index) => [index ? " " : "", h("kbd", {}, keys)])), h("dd", {}, one.says)]))));
  const box = h("input", { type: "checkbox", checked: settings.letters, onchange: () => { settings.letters = box.checked; } });
  return ask({
    title: "Keys",
    wide: true,
    body: [h("div", { class: "keys" }, ...sections), h("label", { class: "check" }, box, "Single keys work everywhere (otherwise only while the drawing area has the focus)")],
    actions: [{ label: "Close", value: "close", kind: "primary" }],
  });
}
