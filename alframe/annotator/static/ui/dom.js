/** Building elements: `h("button", {class: "x", onclick}, "text", child)`, and the icons of the sprite in index.html. */

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const icon = (name) => s("svg", { class: "icon", "aria-hidden": "true", viewBox: "0 0 24 24" }, s("use", { href: `#i-${name}` }));

/** A button with an icon; its name is read out and shown as a hint, with the key. */
export function iconButton(name, label, attributes = {}, key = "") {
  return h("button", { type: "button", class: "tool", "aria-label": label, title: key ? `${label}  ·  ${key}` : label, "aria-keyshortcuts": key || null, ...attributes }, icon(name));
}

export const count = (number) => Math.round(number).toLocaleString("en-GB").replaceAll(",", "\u202f");

/** 3:07, or 1:02:45. */
export function clockTime(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000), parts = [Math.floor(seconds / 60) % 60, seconds % 60];
  if (seconds >= 3600) parts.unshift(Math.floor(seconds / 3600));
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}

/** “just now”, “5 min ago”, “2 h ago”, or the date. */
export function ago(iso) {
  const minutes = (Date.now() - Date.parse(iso)) / 60000;
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${Math.floor(minutes)} min ago`;
  return minutes < 1440 ? `${Math.floor(minutes / 60)} h ago` : new Date(iso).toLocaleDateString();
}
