/** A line chart as inline SVG, with its numbers in a table behind “Data”. */

import { h, s } from "./dom.js";

const WIDE = 420, HIGH = 230, LEFT = 52, RIGHT = 16, TOP = 16, BOTTOM = 40;

/** Round steps that cover low … high with about `wanted` lines. */
export function ticks(low, high, wanted = 4) {
  if (!(high > low)) return [low];
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((part) => part * power).find((part) => part >= rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

export const short = (value) => {
  if (Math.abs(value) >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  if (Math.abs(value) >= 1e4) return `${Number((value / 1e3).toPrecision(3))} k`;
  return String(Number(value.toPrecision(3)));
};

/** `series`: [{name, mark: 0 … 3, points: [[x, y, words]]}]; `x`, `y`: what the axes show. */
export function lineChart({ title, note, x, y, series }) {
  const all = series.flatMap((one) => one.points);
  const [xs, ys] = [0, 1].map((axis) => all.map((point) => point[axis]));
  const pad = (values) => {
    const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1) * 0.06;
    return [low - room, high + room];
  };
  const [x0, x1] = pad(xs), [y0, y1] = pad(ys);
  const across = (value) => LEFT + ((value - x0) / (x1 - x0)) * (WIDE - LEFT - RIGHT);
  const down = (value) => HIGH - BOTTOM - ((value - y0) / (y1 - y0)) * (HIGH - TOP - BOTTOM);
  const number = (value) => value.toFixed(1);
  const grid = ticks(y0, y1).flatMap((value) => [
    s("line", { class: "rule", x1: LEFT, x2: WIDE - RIGHT, y1: number(down(value)), y2: number(down(value)) }),
    s("text", { x: LEFT - 8, y: number(down(value) + 4), "text-anchor": "end" }, short(value))]);
  const whole = xs.every(Number.isInteger) && x1 - x0 < 50; // rounds have no halves
  const feet = ticks(x0, x1).filter((value) => !whole || Number.isInteger(value)).map((value) => s("text", { x: number(across(value)), y: HIGH - BOTTOM + 17, "text-anchor": "middle" }, short(value)));
  // told apart without colour, too
  const lines = series.map(({ mark, points }, index) => s("g", { class: `series s${mark}${index % 2 ? " dashed" : ""}` },
    s("polyline", { points: points.map(([px, py]) => `${number(across(px))},${number(down(py))}`).join(" ") }),
    ...points.map(([px, py, words]) => s("circle", { cx: number(across(px)), cy: number(down(py)), r: 3.6 }, s("title", {}, words)))));
  const drawing = s("svg", { class: "chart", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${title}. ${note}` }, ...grid, ...feet,
    s("line", { class: "base", x1: LEFT, x2: WIDE - RIGHT, y1: HIGH - BOTTOM, y2: HIGH - BOTTOM }),
    s("text", { class: "axis", x: LEFT, y: 11 }, y), s("text", { class: "axis", x: (LEFT + WIDE - RIGHT) / 2, y: HIGH - 6, "text-anchor": "middle" }, x), ...lines);
  const legend = series.length > 1 ? h("ul", { class: "legend" }, ...series.map(({ name, mark }) => h("li", { class: `s${mark}` }, name))) : null;
  const rows = series.flatMap((one) => one.points.map(([px, py]) => h("tr", {}, h("th", { scope: "row" }, one.name), h("td", {}, short(px)), h("td", {}, String(Number(py.toPrecision(4)))))));
  const data = h("details", {}, h("summary", {}, "Data"), h("table", {}, h("thead", {}, h("tr", {}, ...["", x, y].map((word) => h("th", { scope: "col" }, word)))), h("tbody", {}, ...rows)));
  return h("figure", { class: "card fig" }, h("figcaption", {}, h("h3", {}, title), h("p", { class: "hint" }, note)), legend, drawing, data);
}
