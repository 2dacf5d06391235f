/** Dialogs and short notes. The browser's own <dialog> keeps the focus inside and gives it back. */

import { h } from "./dom.js";

/**
 * Ask, and wait for the answer: the `value` of the button that was pressed, or null for Escape.
 * `actions`: [{label, value, kind: "primary" | "danger" | undefined}]; `body`: nodes; `must`: Escape does not close it.
 */
export function ask({ title, body = [], actions, must = false, wide = false }) {
  return new Promise((resolve) => {
    const id = `dialog-${Math.random().toString(36).slice(2)}`;
    const buttons = actions.map(({ label, value, kind }) => h("button", { type: "submit", class: kind ?? "", value, formnovalidate: value === "" }, label));
    const form = h("form", { method: "dialog" }, h("h2", { id }, title), ...body, h("div", { class: "actions" }, ...buttons));
    const dialog = h("dialog", { "aria-labelledby": id, class: wide ? "wide" : "" }, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.returnValue = event.submitter?.value ?? "";
      dialog.close(dialog.returnValue);
    });
    dialog.addEventListener("cancel", (event) => { if (must) event.preventDefault(); else dialog.returnValue = ""; });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue || null);
    });
    dialog.addEventListener("keydown", (event) => event.stopPropagation());
    document.body.append(dialog);
    dialog.showModal();
    if (wide) buttons.at(-1).focus({ preventScroll: true }); // something to read: what closes it comes first
  });
}

export const dialogOpen = () => document.querySelector("dialog[open]") !== null;

/** A short note at the foot of the page, read out by screen readers. `action`: {label, run}. */
export function note(text, { kind = "", action = null, seconds = 5 } = {}) {
  const host = document.querySelector("#notes");
  const one = h("div", { class: `note ${kind}` }, h("span", {}, text));
  const gone = () => one.remove();
  if (action) one.append(h("button", { type: "button", onclick: () => { gone(); action.run(); } }, action.label));
  host.append(one);
  while (host.children.length > 3) host.firstElementChild.remove();
  setTimeout(gone, seconds * 1000);
  return gone;
}
