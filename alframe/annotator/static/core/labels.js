/**
 * The label buffer: one byte a pixel (Z, Y, X in C order), locks, and what a stroke changed.
 *
 * While a stroke is on, each tile of 64 × 64 pixels is copied before its first change. What the stroke changed is then the XOR
 * of the copies and the present, run-length coded: applying it once undoes the stroke, applying it again does it again.
 */

import { packRuns, unpackRuns } from "./runs.js";

export const BACKGROUND = 0;
export const OPEN = 255; // left open: the rater does not say which class it is
const TILE = 64;

/** The smallest rectangle around two ({x0, y0, x1, y1}, ends exclusive; null is empty). */
export function union(one, other) {
  if (!one || !other) return one || other;
  return { x0: Math.min(one.x0, other.x0), y0: Math.min(one.y0, other.y0), x1: Math.max(one.x1, other.x1), y1: Math.max(one.y1, other.y1) };
}

export class Labels {
  #kept = null;

  constructor([depth, height, width], data = new Uint8Array(depth * height * width)) {
    if (data.length !== depth * height * width) throw new RangeError(`expected ${depth * height * width} labels, got ${data.length}`);
    Object.assign(this, { depth, height, width, data });
    this.locked = new Uint8Array(256);
    this.locks = 0;
    this.columns = Math.ceil(width / TILE);
    this.rows = Math.ceil(height / TILE);
    this.counts = new Float64Array(256);
    for (let index = 0; index < data.length; index += 1) this.counts[data[index]] += 1;
  }

  get shape() { return [this.depth, this.height, this.width]; }

  /** The labels of one slice; shares the bytes. */
  plane(z) {
    const size = this.height * this.width;
    return this.data.subarray(z * size, (z + 1) * size);
  }

  at(z, y, x) { return this.data[(z * this.height + y) * this.width + x]; }

  get painting() { return this.#kept !== null; }

  /** Whether pixels of a class can be painted over. */
  lock(value, on) {
    this.locks += Number(on) - this.locked[value];
    this.locked[value] = Number(on);
  }

  begin() { this.#kept = new Map(); }

  /** Give pixels from … to of a row the value, or the values of `source` (a buffer like this one's); locked classes stay. */
  span(z, y, from, to, value, source = null) {
    const base = (z * this.height + y) * this.width, data = this.data, locked = this.locked;
    for (let column = Math.floor(from / TILE); column * TILE < to; column += 1) this.#keep(z, Math.floor(y / TILE), column);
    if (!source && !this.locks) {
      data.fill(value, base + from, base + to);
      return;
    }
    for (let at = base + from; at < base + to; at += 1) if (!locked[data[at]]) data[at] = source ? source[at] : value;
  }

  #keep(z, row, column) {
    const key = (z * this.rows + row) * this.columns + column;
    if (!this.#kept.has(key)) this.#kept.set(key, this.#copy(key));
  }

  #place(key) {
    const column = key % this.columns, row = Math.floor(key / this.columns) % this.rows, z = Math.floor(key / (this.columns * this.rows));
    const x0 = column * TILE, y0 = row * TILE;
    return { z, x0, y0, x1: Math.min(this.width, x0 + TILE), y1: Math.min(this.height, y0 + TILE) };
  }

  #copy(key) {
    const { z, x0, y0, x1, y1 } = this.#place(key), wide = x1 - x0, tile = new Uint8Array(wide * (y1 - y0));
    for (let y = y0; y < y1; y += 1) {
      const base = (z * this.height + y) * this.width;
      tile.set(this.data.subarray(base + x0, base + x1), (y - y0) * wide);
    }
    return tile;
  }

  /** End a stroke: what it changed ({tiles, z, rect, bytes}), or null when nothing is different. */
  end() {
    const tiles = [];
    let rect = null, z = 0, bytes = 0;
    for (const [key, before] of this.#kept) {
      const now = this.#copy(key);
      let changed = false;
      for (let index = 0; index < now.length; index += 1) {
        if (before[index] === now[index]) { now[index] = 0; continue; }
        changed = true;
        this.counts[before[index]] -= 1;
        this.counts[now[index]] += 1;
        now[index] ^= before[index];
      }
      if (!changed) continue;
      const runs = packRuns(now), place = this.#place(key);
      tiles.push({ key, runs });
      bytes += runs.length + 64; // with the object around it
      rect = union(rect, place);
      z = place.z;
    }
    this.#kept = null;
    return tiles.length ? { tiles, z, rect, bytes } : null;
  }

  /** Apply a change once more: undo when it is in, redo when it is out. */
  toggle(change) {
    for (const { key, runs } of change.tiles) {
      const { z, x0, y0, x1, y1 } = this.#place(key), wide = x1 - x0;
      const difference = unpackRuns(runs, wide * (y1 - y0));
      for (let index = 0; index < difference.length; index += 1) {
        if (!difference[index]) continue;
        const at = (z * this.height + y0 + Math.floor(index / wide)) * this.width + x0 + (index % wide);
        this.counts[this.data[at]] -= 1;
        this.data[at] ^= difference[index];
        this.counts[this.data[at]] += 1;
      }
    }
  }

  /** Replace all labels as one stroke; locks do not hold here. Returns the change, or null. */
  replace(data) {
    this.begin();
    for (let key = 0; key < this.depth * this.rows * this.columns; key += 1) this.#kept.set(key, this.#copy(key));
    this.data.set(data);
    return this.end();
  }

  /** How many pixels differ from another buffer of the same shape. */
  differing(other) {
    let count = 0;
    for (let index = 0; index < this.data.length; index += 1) if (this.data[index] !== other[index]) count += 1;
    return count;
  }
}
