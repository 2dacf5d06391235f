/**
 * What this browser keeps in case the server cannot be reached or the browser dies: `drafts` by lease and `outbox` by submission.
 * Records carry their rater; nobody is shown those of another. Without IndexedDB (some private windows) memory has to do.
 */

const NAME = "alframe", VERSION = 1, STORES = ["drafts", "outbox"];

const settled = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

export class Store {
  #database = null;
  #memory = Object.fromEntries(STORES.map((name) => [name, new Map()]));

  /** Opens the database; `durable` is false when this browser has none. */
  static async open() {
    const store = new Store();
    try {
      const request = indexedDB.open(NAME, VERSION);
      request.onupgradeneeded = () => { for (const name of STORES) request.result.createObjectStore(name, { keyPath: "key" }); };
      store.#database = await settled(request);
      store.#database.onversionchange = () => store.#database.close();
    } catch { store.#database = null; }
    return store;
  }

  get durable() { return this.#database !== null; }

  async #run(name, mode, work) {
    const transaction = this.#database.transaction(name, mode);
    const complete = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
    const result = await settled(work(transaction.objectStore(name)));
    if (mode === "readwrite") await complete;
    return result;
  }

  /** Resolves when the record is in the database. Throws when the disk is full. */
  async put(name, record) {
    if (this.#database) await this.#run(name, "readwrite", (store) => store.put(record));
    else this.#memory[name].set(record.key, record);
  }

  async get(name, key) {
    if (this.#database) return (await this.#run(name, "readonly", (store) => store.get(key))) ?? null;
    return this.#memory[name].get(key) ?? null;
  }

  async delete(name, key) {
    if (this.#database) await this.#run(name, "readwrite", (store) => store.delete(key));
    else this.#memory[name].delete(key);
  }

  /** All records of a rater in a campaign. */
  async of(name, rater, campaign) {
    const all = this.#database ? await this.#run(name, "readonly", (store) => store.getAll()) : [...this.#memory[name].values()];
    return all.filter((record) => record.rater === rater && record.campaign === campaign);
  }

  /** Drop drafts that nobody came back to for a month. */
  async tidy(days = 30) {
    if (!this.#database) return;
    for (const record of await this.#run("drafts", "readonly", (store) => store.getAll())) {
      if (Date.now() - record.written > days * 86_400_000) await this.delete("drafts", record.key);
    }
  }
}
