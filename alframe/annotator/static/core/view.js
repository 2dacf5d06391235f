/** Where the region lies in the viewport: screen = image × scale + (x, y), in CSS pixels. Pure arithmetic. */

export const MOST_ZOOM = 48;

export class View {
  /** `margin`: the least room around the image when it is fitted. */
  constructor(width, height, margin = 16) {
    Object.assign(this, { width, height, margin, scale: 1, x: 0, y: 0, viewWidth: 1, viewHeight: 1, fitted: true, ratio: 1 });
  }

  /** The viewport got another size. A view that nobody has zoomed stays fitted. */
  resize(viewWidth, viewHeight, ratio) {
    const dx = (viewWidth - this.viewWidth) / 2, dy = (viewHeight - this.viewHeight) / 2;
    Object.assign(this, { viewWidth, viewHeight, ratio });
    if (this.fitted) this.fit(); else this.#moveTo(this.x + dx, this.y + dy);
  }

  get fitScale() {
    return Math.min((this.viewWidth - 2 * this.margin) / this.width, (this.viewHeight - 2 * this.margin) / this.height, MOST_ZOOM);
  }

  fit() {
    const fit = Math.max(0.01, this.fitScale);
    this.scale = fit >= 3 ? Math.floor(fit * 4) / 4 : fit; // pixels that are seen as squares look best in quarter steps
    this.#moveTo((this.viewWidth - this.width * this.scale) / 2, (this.viewHeight - this.height * this.scale) / 2);
    this.fitted = true;
  }

  /** Zoom by a factor; the image stays put under (x, y). */
  zoomAt(x, y, factor) {
    const least = Math.min(this.fitScale / 2, 1), scale = Math.min(MOST_ZOOM, Math.max(least, this.scale * factor));
    const [imageX, imageY] = this.toImage(x, y);
    this.scale = scale;
    this.#moveTo(x - imageX * scale, y - imageY * scale);
  }

  pan(dx, dy) { this.#moveTo(this.x + dx, this.y + dy); }

  /** Some of the image stays in sight, and its corner on a whole device pixel (so that parts drawn apart meet without a seam). */
  #moveTo(x, y) {
    const margin = 48, wide = this.width * this.scale, high = this.height * this.scale;
    const hold = (at, least, most) => Math.round(Math.min(most, Math.max(least, at)) * this.ratio) / this.ratio;
    this.x = hold(x, margin - wide, this.viewWidth - margin);
    this.y = hold(y, margin - high, this.viewHeight - margin);
    this.fitted = false;
  }

  toImage(x, y) { return [(x - this.x) / this.scale, (y - this.y) / this.scale]; }
  toScreen(x, y) { return [x * this.scale + this.x, y * this.scale + this.y]; }

  /** Bring an image point into sight, if it is not. */
  reveal(x, y) {
    const [atX, atY] = this.toScreen(x, y), margin = 40;
    const shift = (at, size) => (at < margin ? margin - at : at > size - margin ? size - margin - at : 0);
    const dx = shift(atX, this.viewWidth), dy = shift(atY, this.viewHeight);
    if (dx || dy) this.pan(dx, dy);
    return Boolean(dx || dy);
  }

  /** The part of the image that is in sight, in image pixels: [x0, y0, x1, y1]. */
  get visible() {
    const [x0, y0] = this.toImage(0, 0), [x1, y1] = this.toImage(this.viewWidth, this.viewHeight);
    return [Math.max(0, x0), Math.max(0, y0), Math.min(this.width, x1), Math.min(this.height, y1)];
  }
}
