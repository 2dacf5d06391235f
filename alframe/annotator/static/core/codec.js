/** Bytes on the way out and in: gzip, SHA-256, base64, and the draft as one opaque body. */

export const DRAFT_TYPE = "application/vnd.alframe.draft";
const MAGIC = [0x41, 0x46, 0x44, 0x31]; // AFD1

async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

export const gzip = (bytes) => through(bytes, new CompressionStream("gzip"));
export const gunzip = (bytes) => through(bytes, new DecompressionStream("gzip"));

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
