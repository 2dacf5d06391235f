/** The rater's own latest submissions, to correct one. */

import { ask, note } from "../ui/dialog.js";
import { ago, h } from "../ui/dom.js";

/** The lease of the submission that is chosen, or null. */
export async function chooseMine(api) {
  const all = (await api.json("GET", "submissions?limit=20")).filter((one) => one.current && one.lease);
  if (!all.length) {
    note("You have not submitted anything yet");
    return null;
  }
  const rows = all.map((one, index) => h("label", { class: "choice" }, h("input", { type: "radio", name: "lease", value: one.lease, checked: index === 0 }),
    h("span", {}, h("b", {}, one.item), h("small", {}, `${one.outcome.replace("_", " ")} · ${ago(one.received)}`))));
  const answer = await ask({
    title: "Correct one of your last submissions",
    body: [h("p", { class: "hint" }, "The earlier version stays on record; the newer one counts."), h("fieldset", { class: "list" }, h("legend", { class: "sr" }, "Submission"), ...rows)],
    actions: [{ label: "Go back", value: "" }, { label: "Open", value: "open", kind: "primary" }],
  });
  return answer === "open" ? rows.map((row) => row.querySelector("input")).find((input) => input.checked).value : null;
}
