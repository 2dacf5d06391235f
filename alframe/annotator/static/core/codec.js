/** Bytes on the way out and in: gzip, SHA-256, base64, and the draft as one opaque body. */

import { gunzip, gzipHere } from "./gzip.js";

export { gunzip };
export const DRAFT_TYPE = "application/vnd.alframe.draft";
const MAGIC = [0x41, 0x46, 0x44, 0x31]; // AFD1

// the worker is loaded with the page: when strokes have to be saved, the server may be out of reach
const waiting = new Map();
let asked = 0, worker = new Worker(new URL("./squeeze.js", import.meta.url), { type: "module" });
worker.addEventListener("message", ({ data: { id, packed } }) => {
  waiting.get(id).resolve(packed);
  waiting.delete(id);
});
worker.addEventListener("error", () => {
  worker = null; // saving goes on without it, only less smoothly
  for (const { bytes, resolve, reject } of waiting.values()) gzipHere(bytes).then(resolve, reject);
  waiting.clear();
});

/** Bytes, gzip'd by a worker so that strokes go on meanwhile. They are copied at once and may change afterwards. */
export function gzip(bytes) {
  const copy = bytes.slice();
  if (!worker) return gzipHere(copy);
  return new Promise((resolve, reject) => {
    const id = (asked += 1);
    waiting.set(id, { bytes: copy, resolve, reject });
    worker.postMessage({ id, bytes: copy });
  });
}

export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function toBase64(bytes) {
  let text = "";
  for (let start = 0; start < bytes.length; start += 0x8000) text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  return btoa(text);
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** A mask as a submission carries it. */
export async function packMask(data, shape) {
  const [packed, hash] = await Promise.all([gzip(data), sha256(data)]);
  return { encoding: "gzip", shape, sha256: hash, data: toBase64(packed) };
}

/** The labels of a submission's mask. */
export const unpackMask = (mask) => gunzip(fromBase64(mask.data));

/** A draft: magic, the length of the header (uint32, little-endian), the header as JSON, gzip'd labels. */
export async function packDraft(header, data) {
  const head = new TextEncoder().encode(JSON.stringify(header)), body = await gzip(data);
  const out = new Uint8Array(8 + head.length + body.length);
  out.set(MAGIC);
  new DataView(out.buffer).setUint32(4, head.length, true);
  out.set(head, 8);
  out.set(body, 8 + head.length);
  return out;
}

/** {header, data} of a draft. Throws RangeError for bytes that are no draft of ours. */
export async function unpackDraft(bytes) {
  if (bytes.length < 8 || MAGIC.some((byte, index) => bytes[index] !== byte)) throw new RangeError("this is no draft of the labelling page");
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return { header, data: await gunzip(bytes.subarray(8 + length)) };
}
