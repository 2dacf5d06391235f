/** Signing in with an invite: from the link's fragment, or pasted. */

import { Offline, Problem } from "../net/api.js";
import { h, icon } from "../ui/dom.js";

/** The secret in a link or in what was pasted. */
export function inviteOf(text) {
  const found = /[#?&]invite=([^&\s]+)/.exec(text);
  return found ? decodeURIComponent(found[1]) : text.trim();
}

/** Redeem an invite; the session. Throws Problem, Offline. */
export const redeem = (api, invite) => api.json("POST", "session", { json: { invite } });

/** A form that resolves with the session once an invite was taken. `over`: why it is shown. */
export function signInForm(api, over) {
  let settle;
  const signedIn = new Promise((resolve) => { settle = resolve; });
  const input = h("input", { type: "text", name: "invite", autocomplete: "off", spellcheck: "false", required: true, "aria-label": "Invite link or code", placeholder: "Invite link or code" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const form = h("form", { class: "card center" }, icon("key"), h("h1", {}, over.title), h("p", {}, over.text), input, wrong, h("button", { type: "submit", class: "primary" }, "Sign in"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    try {
      settle(await redeem(api, inviteOf(input.value)));
    } catch (error) {
      if (!(error instanceof Problem || error instanceof Offline)) throw error;
      wrong.textContent = error.status === 401 ? "This invite is not valid: it was used, has run out, or is cut off. Ask who runs the campaign for a new one." : error.message;
      input.select();
    }
  });
  return { element: form, signedIn, focus: () => input.focus() };
}
