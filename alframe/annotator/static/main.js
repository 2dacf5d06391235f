/** The page: signs in, keeps the session, shows the view that the fragment names. */

import { Api, Offline, Problem } from "./net/api.js";
import { Outbox } from "./net/outbox.js";
import { Store } from "./net/store.js";
import { Tabs } from "./net/tabs.js";
import { note } from "./ui/dialog.js";
import { h, icon } from "./ui/dom.js";
import { Settings, applyTheme, nextTheme } from "./ui/settings.js";
import { inviteOf, redeem, signInForm } from "./views/signin.js";

const VIEWS = {
  label: { title: "Label", scope: "annotate", load: async () => (await import("./views/label.js")).LabelView },
  review: { title: "Review", scope: "review", load: async () => (await import("./views/review.js")).ReviewView },
  admin: { title: "Campaign", scope: "admin", load: async () => (await import("./views/admin.js")).AdminView },
};
const THEMES = { auto: ["auto", "Theme: as the system"], light: ["sun", "Theme: light"], dark: ["moon", "Theme: dark"] };

class App {
  #view = null;
  #asking = false;
  #moving = Promise.resolve();

  constructor() {
    this.settings = new Settings();
    this.api = new Api();
    this.tabs = new Tabs();
    this.host = document.querySelector("main");
    this.slot = document.querySelector("#slot");
    this.api.onSignedOut = () => this.#signedOut();
    this.settings.addEventListener("change", () => this.#theme());
    this.#theme();
  }

  async start() {
    const invite = this.#takeInvite();
    if (!isSecureContext) return this.#stop("This page needs HTTPS", "It is served over plain HTTP from another machine. Ask who runs the campaign for its https:// address.");
    this.store = await Store.open();
    this.outbox = new Outbox(this.api, this.store);
    await this.store.tidy().catch(() => {});
    const session = (await this.#invited(invite)) ?? (await this.#present()) ?? (await this.#form({ title: "Welcome", text: "Open the invite link that you were sent, or paste it here." }));
    this.#signedIn(session);
    addEventListener("hashchange", () => this.#route());
    return this.#route();
  }

  #stop(title, text) { this.host.replaceChildren(h("div", { class: "card center" }, icon("warn"), h("h1", {}, title), h("p", {}, text))); }

  /** The invite in the address, or null. It is taken out of it before anything else happens, so that it stays in no history. */
  #takeInvite() {
    if (!location.hash.includes("invite=")) return null;
    const invite = inviteOf(location.hash);
    history.replaceState(null, "", `${location.pathname}#/label`);
    return invite;
  }

  async #invited(invite) {
    if (!invite) return null;
    try { return await redeem(this.api, invite); } catch (error) {
      const present = await this.#present();
      if (present) return present;
      return this.#form({ title: "This invite does not work", text: error instanceof Problem ? `${error.message}. Ask who runs the campaign for a new one.` : "The server cannot be reached. Paste the link again when it is back." });
    }
  }

  async #present() {
    try { return await this.api.json("GET", "session"); } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      if (!(error instanceof Offline || error instanceof Problem)) throw error;
      await new Promise((resolve) => {
        this.#stop("The server cannot be reached", "What you drew is kept in this browser. Trying again …");
        setTimeout(resolve, 3000);
      });
      return this.#present();
    }
  }

  async #form(over) {
    const form = signInForm(this.api, over);
    this.host.replaceChildren(form.element);
    form.focus();
    return form.signedIn;
  }

  #signedIn(session) {
    this.session = session;
    this.api.csrf = session.csrf;
    const may = (scope) => session.scopes.includes(scope) || session.scopes.includes("admin");
    const links = Object.entries(VIEWS).filter(([, view]) => may(view.scope));
    const nav = document.querySelector("#views");
    nav.replaceChildren(...links.map(([name, view]) => h("a", { href: `#/${name}`, "data-view": name }, view.title)));
    nav.hidden = links.length < 2;
    document.querySelector("#campaign").textContent = session.campaign;
    document.querySelector("#who").replaceChildren(h("span", { class: "rater" }, session.rater),
      h("button", { type: "button", class: "quiet", onclick: () => this.#signOut() }, "Sign out"));
    document.title = `${session.campaign} · alframe`;
    if (!this.store.durable) note("This browser keeps nothing (a private window?): unsent work is lost when it closes", { kind: "bad", seconds: 12 });
  }

  /** The session ended while somebody works: sign in over the work, which stays as it is. */
  async #signedOut() {
    if (this.#asking || !this.session) return;
    this.#asking = true;
    const form = signInForm(this.api, { title: "Your session has ended", text: "Your work is kept. Open a new invite, or paste it here, and go on where you are." });
    const over = h("dialog", { class: "signin" }, form.element);
    over.addEventListener("cancel", (event) => event.preventDefault());
    over.addEventListener("keydown", (event) => event.stopPropagation());
    document.body.append(over);
    over.showModal();
    form.focus();
    // another tab may have signed in meanwhile: the cookie is the same
    const timer = setInterval(async () => {
      const found = await this.api.json("GET", "session").catch(() => null);
      if (found) settle(found);
    }, 5000);
    let settle;
    const session = await Promise.race([form.signedIn, new Promise((resolve) => { settle = resolve; })]);
    clearInterval(timer);
    over.close();
    over.remove();
    this.#asking = false;
    const same = session.rater === this.session.rater;
    this.#signedIn(session);
    if (same) dispatchEvent(new Event("online")); // whatever waits for the server tries again now
    else location.reload();
  }

  async #signOut() {
    await this.#view?.destroy();
    await this.api.call("DELETE", "session").catch(() => {});
    this.session = null;
    location.replace(location.pathname);
  }

  #theme() {
    applyTheme(this.settings);
    const [name, label] = THEMES[this.settings.theme] ?? THEMES.auto, button = document.querySelector("#theme");
    button.replaceChildren(icon(name));
    button.setAttribute("aria-label", label);
    button.title = label;
    button.onclick = () => { this.settings.theme = nextTheme(this.settings.theme); };
  }

  /** One change of view after the other: the old one saves before the new one loads. */
  #route() {
    this.#moving = this.#moving.then(() => this.#show());
    return this.#moving;
  }

  async #show() {
    const offered = [...document.querySelectorAll("#views a")].map((link) => link.dataset.view);
    const wanted = location.hash.replace(/^#\//, "").split("/")[0];
    const name = offered.includes(wanted) ? wanted : offered[0];
    if (!name) return this.#stop("Nothing to do here", "This account may neither label nor review. Ask who runs the campaign.");
    for (const link of document.querySelectorAll("#views a")) {
      if (link.dataset.view === name) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
    const View = await VIEWS[name].load();
    await this.#view?.destroy();
    this.host.className = name;
    this.#view = new View(this, this.host);
    this.shown = name;
    return undefined;
  }

  get view() { return this.#view; }
}

// the frame of the drawing area tells where the keys go; with a pointer in the hand nobody needs it
for (const [event, input] of [["keydown", "keys"], ["pointerdown", "pointer"]]) addEventListener(event, () => { document.documentElement.dataset.input = input; }, true);

const app = new App();
app.start();
