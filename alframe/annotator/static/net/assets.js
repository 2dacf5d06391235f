/** The pictures of a task: the region slice by slice, its samples, the suggestion, the uncertainty, the context. */

import { grey, heatTable, samples } from "../core/pixels.js";
import { Problem, sliced } from "./api.js";

const KEPT = 48; // slices kept in memory

export class Assets {
  #slices = new Map();
  #contexts = new Map();

  constructor(api, task) {
    Object.assign(this, { api, task });
    this.shape = task.shape.length === 3 ? task.shape : [1, ...task.shape];
    this.grey = task.image.kind === "grey";
    this.window = { low: task.image.low, high: task.image.high };
    this.heat = null;
    this.suggestion = null;
    this.abort = new AbortController();
  }

  destroy() { this.abort.abort(); this.#slices.clear(); this.#contexts.clear(); }

  /** What can be drawn for slice z: a canvas (grey) or an ImageBitmap. Loads it when it is not here yet. */
  async slice(z) {
    if (!this.#slices.has(z)) {
      const loading = this.grey ? this.#samples(z) : this.#picture(z);
      this.#slices.set(z, loading);
      loading.catch(() => this.#slices.delete(z));
      while (this.#slices.size > KEPT) this.#slices.delete(this.#slices.keys().next().value);
    }
    const found = await this.#slices.get(z);
    return this.grey ? this.#windowed(found) : found;
  }

  /** Load the neighbours of slice z, so that scrolling does not wait. */
  prefetch(z) {
    for (const near of [z + 1, z - 1, z + 2, z - 2]) if (near >= 0 && near < this.shape[0]) this.slice(near).catch(() => {});
  }

  async #picture(z) {
    return createImageBitmap(await this.api.blob(sliced(this.task.image.png, z), { signal: this.abort.signal }));
  }

  async #samples(z) {
    const bytes = await this.api.bytes(sliced(this.task.image.pixels, z), { signal: this.abort.signal });
    const [, height, width] = this.shape;
    return { values: samples(bytes.buffer, this.task.image.dtype).subarray(0, height * width), drawn: null, canvas: null };
  }

  #windowed(slice) {
    const { low, high } = this.window, [, height, width] = this.shape;
    slice.canvas ??= Object.assign(document.createElement("canvas"), { width, height });
    if (slice.drawn !== `${low} ${high}`) {
      const image = new ImageData(width, height);
      grey(slice.values, low, high, new Int32Array(image.data.buffer));
      slice.canvas.getContext("2d").putImageData(image, 0, 0);
      slice.drawn = `${low} ${high}`;
    }
    return slice.canvas;
  }

  /** The model's suggestion (uint8, all slices), or null where there is none. */
  async loadSuggestion() {
    if (!this.task.prefill) return null;
    this.suggestion ??= await this.#optional(this.task.prefill.url);
    return this.suggestion;
  }

  /** The heat map of slice z as a canvas, or null where there is none. */
  async heatOf(z) {
    if (!this.task.uncertainty) return null;
    this.heat ??= await this.#optional(this.task.uncertainty.url);
    if (!this.heat) return null;
    const [, height, width] = this.shape, table = heatTable(), image = new ImageData(width, height);
    const words = new Uint32Array(image.data.buffer), base = z * height * width;
    for (let index = 0; index < words.length; index += 1) words[index] = table[this.heat[base + index]];
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  /** The whole item, small. */
  async context(z) {
    if (!this.task.context) return null;
    if (!this.#contexts.has(z)) {
      if (this.#contexts.size > KEPT) this.#contexts.clear();
      const url = this.shape[0] > 1 ? sliced(this.task.context.url, z) : this.task.context.url;
      this.#contexts.set(z, this.api.blob(url, { signal: this.abort.signal }).then((blob) => createImageBitmap(blob)));
    }
    return this.#contexts.get(z);
  }

  async #optional(url) {
    try { return await this.api.bytes(url, { signal: this.abort.signal }); } catch (error) {
      if (error instanceof Problem && error.status === 404) return null;
      throw error;
    }
  }
}
