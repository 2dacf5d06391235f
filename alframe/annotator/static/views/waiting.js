/** Nothing to label right now, or nothing to be reached: what there is to know, and on again by itself. */

import { h, icon } from "../ui/dom.js";

function card(host, name, title, ...content) {
  host.replaceChildren(h("div", { class: "card center" }, icon(name), h("h1", {}, title), ...content));
}

export function waiting(host, progress, seconds, again, correct) {
  const { done = 0, total = 0, mine = 0, campaign_status: status } = progress ?? {};
  const over = status === "done" || status === "stopped" || status === "failed";
  const left = h("p", { class: "hint", role: "status" });
  card(host, over ? "flag" : "cup", over ? "The campaign has ended" : "Nothing to label right now",
    h("p", {}, over ? "Thank you. There are no more questions." : total && done >= total ? "This round is complete. The model learns from it, then asks again; this page goes on by itself." : "Others are working on the regions that are left. As soon as there is one for you it opens here."),
    h("p", { class: "big" }, `${done} of ${total} done, ${mine} of them yours`),
    h("div", { class: "pair" }, h("button", { type: "button", onclick: again }, "Look now"), h("button", { type: "button", onclick: correct }, "Correct my last …")), left);
  let rest = Math.max(2, Math.min(60, seconds));
  const timer = setInterval(() => {
    if (!left.isConnected) return clearInterval(timer);
    rest -= 1;
    if (rest <= 0) {
      clearInterval(timer);
      again();
    }
    return undefined;
  }, 1000);
}

export function failed(host, error, again) {
  card(host, "cloud-off", "Not loaded", h("p", {}, error.message.replace(/^./, (letter) => letter.toUpperCase())),
    h("p", { class: "hint" }, "What you drew is kept in this browser."), h("button", { type: "button", class: "primary", onclick: again }, "Try again"));
  const online = () => { if (host.querySelector(".card")) again(); };
  addEventListener("online", online, { once: true });
}
