/** From strokes to a submission: which outcome they mean, the body, the questions on the way. */

import { packMask } from "../core/codec.js";
import { BACKGROUND, OPEN } from "../core/labels.js";
import { ask } from "../ui/dialog.js";
import { h } from "../ui/dom.js";

export const CLIENT = "alframe-page/1";

/** `labeled`, `empty_confirmed`, `ambiguous`, or null when the rater thinks again. */
export async function outcomeOf(labels) {
  const total = labels.data.length, open = labels.counts[OPEN], drawn = total - open - labels.counts[BACKGROUND];
  if (drawn > 0) return "labeled";
  if (open === total) {
    const answer = await ask({
      title: "Everything is left open",
      body: [h("p", {}, "Nothing of this region has a class. Do you mean that it cannot be told?")],
      actions: [{ label: "Go back", value: "" }, { label: "Yes, it is ambiguous", value: "ambiguous", kind: "primary" }],
    });
    return answer;
  }
  return ask({
    title: "Nothing is drawn",
    body: [h("p", {}, "Is there really nothing of any class in this region? An empty region is a label like any other.")],
    actions: [{ label: "Go back", value: "" }, { label: "Yes, it is empty", value: "empty_confirmed", kind: "primary" }],
  });
}

const WHY = [
  ["ambiguous", "Ambiguous", "I looked, and it cannot be told what this is."],
  ["unusable", "Unusable", "The image is broken, blurred or wrong. It will not be asked about again."],
  ["skipped", "Skip", "Somebody else should do this one."],
];

/** Why a task cannot be labelled: {outcome, reason}, or null. `skips`: whether skipping is possible (not in a correction). */
export async function declineOf(skips) {
  const choices = WHY.filter(([value]) => skips || value !== "skipped");
  const radios = choices.map(([value, label, says], index) => h("label", { class: "choice" },
    h("input", { type: "radio", name: "outcome", value, checked: index === 0 }), h("span", {}, h("b", {}, label), h("small", {}, says))));
  const reason = h("textarea", { rows: 2, maxlength: 1000, "aria-label": "Reason", placeholder: "Why? (optional, the organisers read it)" });
  // the server takes no markup: say so where it is written
  reason.addEventListener("input", () => reason.setCustomValidity(/<\s*[A-Za-z/!?]/.test(reason.value) ? "Plain words only: a “<” may not stand before a letter." : ""));
  const answer = await ask({
    title: "This region cannot be labelled", body: [h("fieldset", {}, h("legend", { class: "sr" }, "Outcome"), ...radios), reason],
    actions: [{ label: "Go back", value: "" }, { label: "Hand in", value: "send", kind: "primary" }],
  });
  if (answer !== "send") return null;
  return { outcome: radios.map((label) => label.querySelector("input")).find((input) => input.checked).value, reason: reason.value.trim() };
}

/** The body of a submission. `lease` (or the `task`'s id, of a decision) says what it answers; the rest is as the rater saw it. */
export async function bodyOf({ lease, task, shape, classMap, labels, outcome, reason, shown, prefill, suggestion, active, wall, supersedes }) {
  const carries = outcome === "labeled" || outcome === "empty_confirmed";
  const data = outcome === "empty_confirmed" ? new Uint8Array(labels.data.length) : labels.data.slice();
  return {
    lease,
    task,
    outcome,
    reason: reason || undefined,
    mask: carries ? await packMask(data, shape) : null,
    class_map: classMap,
    prefill_shown: shown,
    prefill_sha256: shown ? prefill : undefined,
    pixels_changed: carries && shown && suggestion ? labels.differing(suggestion) : undefined,
    active_ms: active,
    wall_ms: Math.max(0, wall),
    client: CLIENT,
    supersedes: supersedes ?? undefined,
  };
}
