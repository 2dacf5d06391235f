/** Slices of a volume: a slider along which the labelled slices are marked. */

import { h, iconButton } from "./dom.js";

export function sliceBar(bench) {
  const [depth, height, width] = bench.assets.shape;
  if (depth < 2) return null;
  const range = h("input", { type: "range", min: 0, max: depth - 1, step: 1, "aria-label": "Slice", oninput: () => bench.goSlice(Number(range.value)) });
  const value = h("output", {}), strip = h("canvas", { class: "strip", "aria-hidden": "true", width: depth, height: 1 });
  const marked = new Uint8Array(depth);
  const mark = (z) => {
    const { data } = bench.editor.labels, size = height * width, end = (z + 1) * size;
    marked[z] = 0;
    for (let at = z * size; at < end; at += 1) if (data[at] !== 0) { marked[z] = 1; break; }
  };
  const draw = () => {
    const pen = strip.getContext("2d");
    pen.clearRect(0, 0, depth, 1);
    pen.fillStyle = "#3f8fd0";
    for (let z = 0; z < depth; z += 1) if (marked[z]) pen.fillRect(z, 0, 1, 1);
  };
  for (let z = 0; z < depth; z += 1) mark(z);
  draw();
  return {
    element: h("div", { class: "slices" },
      iconButton("down", "Previous slice", { onclick: () => bench.step(-1) }, "Page Down"),
      h("div", { class: "track" }, range, strip),
      iconButton("up", "Next slice", { onclick: () => bench.step(1) }, "Page Up"), value,
      h("button", { type: "button", title: "Copy the labels of the slice before onto this one", onclick: () => bench.copyFrom(-1) }, "Copy previous")),
    update() {
      range.value = bench.editor.z;
      value.textContent = `${bench.editor.z + 1} / ${depth}`;
      range.setAttribute("aria-valuetext", `slice ${bench.editor.z + 1} of ${depth}`);
    },
    changed(z) { mark(z); draw(); },
  };
}
