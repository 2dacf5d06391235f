/** What is drawn over the labels: the brush's ring, the polygon under way, the keyboard's cross-hair. */

import { snap } from "../core/raster.js";

const DARK = "rgb(0 0 0 / .75)", LIGHT = "#fff";

/** Two strokes, so that it is seen on any ground. */
function twice(context, path, colour = LIGHT, thick = 1.5) {
  context.lineWidth = thick + 2;
  context.strokeStyle = DARK;
  context.stroke(path);
  context.lineWidth = thick;
  context.strokeStyle = colour;
  context.stroke(path);
}

function ring(context, view, [x, y], size, colour) {
  const path = new Path2D(), [atX, atY] = view.toScreen(...snap(x, y, size));
  path.arc(atX, atY, Math.max(1.5, (size / 2) * view.scale), 0, 2 * Math.PI);
  twice(context, path, colour);
}

function crossHair(context, view, { x, y }, down) {
  const [left, top] = view.toScreen(x, y), size = Math.max(view.scale, 2), path = new Path2D();
  path.rect(left, top, size, size);
  for (const [dx, dy] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) {
    const fromX = left + size / 2 + dx * (size / 2 + 4), fromY = top + size / 2 + dy * (size / 2 + 4);
    path.moveTo(fromX, fromY);
    path.lineTo(fromX + dx * 12, fromY + dy * 12);
  }
  twice(context, path, down ? "#ffd60a" : LIGHT, 2);
}

function outline(context, view, points, hover) {
  const path = new Path2D(), corners = new Path2D();
  points.forEach(([x, y], index) => {
    const at = view.toScreen(x, y);
    if (index) path.lineTo(...at); else path.moveTo(...at);
    if (points.length < 60) corners.rect(at[0] - 2.5, at[1] - 2.5, 5, 5);
  });
  if (hover) path.lineTo(...view.toScreen(...hover));
  twice(context, path);
  twice(context, corners);
  const [x, y] = view.toScreen(...points[0]), close = new Path2D();
  close.arc(x, y, 6, 0, 2 * Math.PI);
  twice(context, close);
}

/** `hover`: the pointer in image coordinates or null; `cursor`: the keyboard's pixel or null. */
export function drawMarks(context, view, { editor, tool, colour, hover, cursor, penDown }) {
  context.lineJoin = context.lineCap = "round";
  const at = hover ?? (cursor ? [cursor.x + 0.5, cursor.y + 0.5] : null);
  if (editor.points.length) outline(context, view, editor.points, at);
  if (cursor) crossHair(context, view, cursor, penDown);
  if (at && ["brush", "eraser", "suggestion"].includes(tool)) ring(context, view, at, editor.size, tool === "brush" ? colour : LIGHT);
}
