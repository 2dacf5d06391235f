/** What a rater likes, kept in this browser: brush, opacity, theme, shortcuts. */

const KEY = "alframe-page";
const START = { size: 16, opacity: 0.4, heatOpacity: 0.6, start: true, theme: "auto", letters: true };

export class Settings extends EventTarget {
  #values = { ...START };

  constructor() {
    super();
    try { Object.assign(this.#values, JSON.parse(localStorage.getItem(KEY) ?? "{}")); } catch { /* not allowed, or damaged: as new */ }
    for (const name of Object.keys(START)) {
      if (typeof this.#values[name] !== typeof START[name]) this.#values[name] = START[name];
      Object.defineProperty(this, name, { get: () => this.#values[name], set: (value) => this.#set(name, value) });
    }
  }

  #set(name, value) {
    if (this.#values[name] === value) return;
    this.#values[name] = value;
    try { localStorage.setItem(KEY, JSON.stringify(this.#values)); } catch { /* it holds until the page is closed */ }
    this.dispatchEvent(new CustomEvent("change", { detail: name }));
  }
}

const THEMES = ["auto", "light", "dark"];

/** Show the theme, and give the next one. */
export function applyTheme(settings) {
  const root = document.documentElement;
  if (settings.theme === "auto") delete root.dataset.theme; else root.dataset.theme = settings.theme;
}

export const nextTheme = (theme) => THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
