/**
 * Shapes as spans of pixels. A shape calls `span(y, from, to)` once for each row it covers (`to` is exclusive); a pixel
 * belongs to a shape when its centre does. Brush points and polygon vertices lie on a grid (`snap`, `corner`), so that every
 * decision is made in whole numbers and the same strokes give the same pixels everywhere.
 */

/** The brush position next to (x, y): odd diameters sit on pixel centres, even ones on corners. */
export function snap(x, y, diameter) {
  return diameter % 2 ? [Math.floor(x) + 0.5, Math.floor(y) + 0.5] : [Math.round(x), Math.round(y)];
}

/** The pixel corner next to (x, y). */
export function corner(x, y) {
  return [Math.round(x), Math.round(y)];
}

/** Whether (x, y) is at most `radius` away from the segment a–b. Exact for points of the grid. */
function near(x, y, [ax, ay], [bx, by], radius) {
  const dx = bx - ax, dy = by - ay, px = x - ax, py = y - ay;
  const along = px * dx + py * dy, length = dx * dx + dy * dy, limit = radius * radius;
  if (along <= 0 || length === 0) return px * px + py * py <= limit;
  if (along >= length) return (x - bx) ** 2 + (y - by) ** 2 <= limit;
  const across = px * dy - py * dx;
  return across * across <= limit * length;
}

/** Centres x of one row, at height y, within `radius` of the segment: a first guess, good to rounding, or null. */
function reach(y, [ax, ay], [bx, by], radius) {
  let low = Infinity, high = -Infinity;
  for (const [cx, cy] of [[ax, ay], [bx, by]]) {
    const rest = radius * radius - (y - cy) ** 2;
    if (rest >= 0) {
      low = Math.min(low, cx - Math.sqrt(rest));
      high = Math.max(high, cx + Math.sqrt(rest));
    }
  }
  const length = Math.hypot(bx - ax, by - ay);
  if (length > 0) {
    const dx = (bx - ax) / length, dy = (by - ay) / length;
    let from = -Infinity, to = Infinity;
    // along the segment: 0 ≤ (x − ax) dx + (y − ay) dy ≤ length; across it: |(x − ax) dy − (y − ay) dx| ≤ radius
    for (const [slope, rest, least, most] of [[dx, (y - ay) * dy, 0, length], [dy, (ay - y) * dx, -radius, radius]]) {
      if (Math.abs(slope) < 1e-12) {
        if (rest < least - 1e-9 || rest > most + 1e-9) return low <= high ? [low, high] : null;
      } else {
        const one = (least - rest) / slope + ax, other = (most - rest) / slope + ax;
        from = Math.max(from, Math.min(one, other));
        to = Math.min(to, Math.max(one, other));
      }
    }
    if (from <= to + 1e-9) {
      low = Math.min(low, from);
      high = Math.max(high, to);
    }
  }
  return low <= high ? [low, high] : null;
}

/** All pixels within half a `diameter` of the segment a–b (a disc when they are the same), cut to width × height. */
export function capsule(a, b, diameter, width, height, span) {
  const radius = diameter / 2;
  const top = Math.max(0, Math.floor(Math.min(a[1], b[1]) - radius)), bottom = Math.min(height, Math.ceil(Math.max(a[1], b[1]) + radius));
  for (let y = top; y < bottom; y += 1) {
    const found = reach(y + 0.5, a, b, radius);
    if (!found) continue;
    let from = Math.ceil(found[0] - 0.5), to = Math.floor(found[1] - 0.5);
    // the guess is a float: settle both ends exactly
    while (from <= to && !near(from + 0.5, y + 0.5, a, b, radius)) from += 1;
    while (from <= to && !near(to + 0.5, y + 0.5, a, b, radius)) to -= 1;
    if (from > to) continue;
    while (near(from - 0.5, y + 0.5, a, b, radius)) from -= 1;
    while (near(to + 1.5, y + 0.5, a, b, radius)) to += 1;
    from = Math.max(0, from);
    to = Math.min(width - 1, to);
    if (from <= to) span(y, from, to + 1);
  }
}

/** All pixels inside a polygon (even-odd rule; corners as `corner` gives them), cut to width × height. */
export function polygon(points, width, height, span) {
  if (points.length < 3) return;
  const rows = points.map((point) => point[1]);
  const top = Math.max(0, Math.min(...rows)), bottom = Math.min(height, Math.max(...rows));
  for (let y = top; y < bottom; y += 1) {
    const crossings = [];
    for (let index = 0; index < points.length; index += 1) {
      const [ax, ay] = points[index], [bx, by] = points[(index + 1) % points.length];
      if (ay <= y + 0.5 === by <= y + 0.5) continue;
      crossings.push(ax + ((y + 0.5 - ay) * (bx - ax)) / (by - ay));
    }
    crossings.sort((one, other) => one - other);
    for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
      const from = Math.max(0, Math.ceil(crossings[pair] - 0.5)), to = Math.min(width, Math.ceil(crossings[pair + 1] - 0.5));
      if (from < to) span(y, from, to);
    }
  }
}

/**
 * The pixels of one slice that are connected (edge to edge) with (x, y) and have its value.
 * `plane` holds width × height values; it may change under `span` only by becoming another value.
 */
export function flood(plane, width, height, x, y, span) {
  const value = plane[y * width + x], seen = new Uint8Array(width * height), waiting = [[x, y]];
  while (waiting.length) {
    const [startX, row] = waiting.pop(), base = row * width;
    if (seen[base + startX]) continue;
    let from = startX, to = startX + 1;
    while (from > 0 && plane[base + from - 1] === value && !seen[base + from - 1]) from -= 1;
    while (to < width && plane[base + to] === value && !seen[base + to]) to += 1;
    seen.fill(1, base + from, base + to);
    for (const next of [row - 1, row + 1]) {
      if (next < 0 || next >= height) continue;
      const other = next * width;
      for (let at = from; at < to; at += 1) {
        const inside = plane[other + at] === value && !seen[other + at];
        if (inside && (at === from || plane[other + at - 1] !== value || seen[other + at - 1])) waiting.push([at, next]);
      }
    }
    span(row, from, to);
  }
}
