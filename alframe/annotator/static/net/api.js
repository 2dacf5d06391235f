/** Calls to the server. Refusals come back as `Problem`, a connection that failed as `Offline`. */

const BASE = "/api/v1";
const PATIENCE_MS = 60_000;

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the server answered ${status}`);
    Object.assign(this, { status, body });
  }
}

/** No answer came: the request may or may not have been carried out. */
export class Offline extends Error {}

export class Api {
  constructor() {
    this.csrf = "";
    this.onSignedOut = () => {};
  }

  /** The response to a call; throws Problem or Offline. `raw` bodies are sent as they are. */
  async call(method, path, options) {
    try { return await this.#once(method, path, options); } catch (error) {
      if (!(error instanceof Problem) || !/csrf$/.test(error.body.type ?? "") || path === "session") throw error;
      // another tab signed in meanwhile: the cookie is new, and so is what goes with it
      this.csrf = (await (await this.#once("GET", "session")).json()).csrf ?? "";
      return this.#once(method, path, options);
    }
  }

  async #once(method, path, { json, raw, type, headers = {}, signal, keepalive } = {}) {
    const sent = { ...headers };
    if (method !== "GET") sent["X-CSRF-Token"] = this.csrf;
    let body = raw;
    if (json !== undefined) {
      sent["Content-Type"] = "application/json";
      body = JSON.stringify(json);
    } else if (raw !== undefined) sent["Content-Type"] = type;
    const patience = AbortSignal.timeout(PATIENCE_MS), until = signal ? AbortSignal.any([signal, patience]) : patience;
    let response;
    try {
      response = await fetch(path.startsWith("/") ? path : `${BASE}/${path}`, { method, body, headers: sent, signal: until, keepalive, cache: "no-store", credentials: "same-origin" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Offline("the server cannot be reached");
    }
    if (response.ok) return response;
    let problem = {};
    try { problem = await response.json(); } catch { /* a proxy's page, or cut off */ }
    if (response.status === 401 && path !== "session") this.onSignedOut();
    if (response.status >= 502 && response.status <= 504) throw new Offline(problem.detail || "the server is not available right now");
    throw new Problem(response.status, problem);
  }

  async json(method, path, options) {
    const response = await this.call(method, path, options);
    return response.status === 204 ? null : this.#whole(response.json());
  }

  async bytes(path, options) {
    return new Uint8Array(await this.#whole((await this.call("GET", path, options)).arrayBuffer()));
  }

  async blob(path, options) { return this.#whole((await this.call("GET", path, options)).blob()); }

  /** An answer that breaks off in the middle is a failed connection, too. */
  async #whole(reading) {
    try { return await reading; } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Offline("the answer broke off");
    }
  }
}

/** A task's URL for one slice. */
export function sliced(url, slice) {
  const parsed = new URL(url, location.href);
  parsed.searchParams.set("slice", slice);
  return parsed.pathname + parsed.search;
}

/** Wait before the next try: 1, 2, 4 … 30 seconds; less when the browser says that it is online again, or when `signal` fires. */
export function pause(tries, signal = null) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(30_000, 1000 * 2 ** Math.min(tries, 5)));
    addEventListener("online", done);
    signal?.addEventListener("abort", done);
    if (signal?.aborted) done();
  });
}
