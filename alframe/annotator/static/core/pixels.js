/** From samples and labels to RGBA: window and level, the heat map's colours, fills and contours. Pure. */

import { BACKGROUND, OPEN } from "./labels.js";

const ARRAYS = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
  uint32: Uint32Array, int32: Int32Array, float32: Float32Array, float64: Float64Array,
};

/** Raw little-endian samples as a typed array. */
export function samples(buffer, dtype) {
  const kind = ARRAYS[dtype];
  if (!kind) throw new RangeError(`no samples of type ${dtype}; expected one of ${Object.keys(ARRAYS).join(", ")}`);
  return new kind(buffer);
}

/** Grey samples as RGBA (little-endian words): `low` is black, `high` white. */
export function grey(values, low, high, out) {
  const factor = 255 / Math.max(high - low, 1e-12);
  for (let index = 0; index < out.length; index += 1) {
    const value = Math.max(0, Math.min(255, (values[index] - low) * factor)) | 0;
    out[index] = 0xff000000 | (value << 16) | (value << 8) | value;
  }
  return out;
}

const HEAT = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];

/** The colour of uncertainty 0 … 255: dark is certain, bright is not, and what is certain lets the image through. */
export function heatTable() {
  return Uint32Array.from({ length: 256 }, (_, value) => {
    const at = (value / 255) * (HEAT.length - 1), low = Math.min(HEAT.length - 2, Math.floor(at)), part = at - low;
    const [r, g, b] = HEAT[low].map((from, channel) => Math.round(from + (HEAT[low + 1][channel] - from) * part));
    const alpha = Math.round(255 * Math.min(1, 1.25 * (value / 255) ** 0.8));
    return ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

/** [r, g, b] of "#rrggbb". */
export function rgb(colour) {
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
}

const word = ([r, g, b], alpha) => ((Math.round(alpha * 255) << 24) | (b << 16) | (g << 8) | r) >>> 0;

/** Fill and contour words of each class. `fill` and `edge` are opacities 0 … 1; the background is clear. */
export function paintTable(classes, fill, edge) {
  const fills = new Uint32Array(256), edges = new Uint32Array(256);
  for (const { id, colour } of classes) {
    if (id === BACKGROUND) continue;
    fills[id] = word(rgb(colour), fill);
    edges[id] = word(rgb(colour), edge);
  }
  fills[OPEN] = word([128, 128, 128], fill);
  edges[OPEN] = word([240, 240, 240], edge);
  return { fills, edges };
}

/**
 * Draw the rectangle of a plane of labels into `out` (words, row by row): filled, contours along the borders between classes,
 * and stripes where it is left open.
 */
export function drawLabels(plane, width, height, { x0, y0, x1, y1 }, { fills, edges }, out) {
  let index = 0;
  for (let y = y0; y < y1; y += 1) {
    const up = y > 0 ? -width : 0, down = y + 1 < height ? width : 0;
    for (let x = x0; x < x1; x += 1, index += 1) {
      const at = y * width + x, value = plane[at];
      if (value === BACKGROUND) { out[index] = 0; continue; }
      const border = plane[at + up] !== value || plane[at + down] !== value
        || (x > 0 && plane[at - 1] !== value) || (x + 1 < width && plane[at + 1] !== value);
      out[index] = border || (value === OPEN && ((x + y) & 7) < 2) ? edges[value] : fills[value];
    }
  }
  return out;
}
