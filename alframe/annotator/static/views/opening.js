/** What a task begins with: the draft of this browser, the draft of the server, an earlier submission, the suggestion, or nothing. */

import { unpackDraft } from "../core/codec.js";
import { ask } from "../ui/dialog.js";
import { ago, h } from "../ui/dom.js";

/** Under which name this browser keeps a draft; a correction has one of its own. */
export const draftKey = ({ campaign, rater }, lease, correction = false) => `${campaign}/${rater}/${correction ? "correction/" : ""}${lease}`;

const tagOf = (response) => (response.headers.get("ETag") ?? "").replace(/^W\//, "").replaceAll('"', "");

async function readable(bytes, size) {
  try {
    const draft = await unpackDraft(bytes);
    return draft.data.length === size ? draft : null;
  } catch { return null; } // another front end's draft, or a damaged one: it is no use here
}

/** The server's draft: {tag, draft | null}, or null when there is none. */
export async function serverDraft(api, lease, size) {
  const response = await api.call("GET", `leases/${lease}/draft`);
  if (response.status === 204) return null;
  return { tag: tagOf(response), saved: response.headers.get("Last-Modified"), draft: await readable(new Uint8Array(await response.arrayBuffer()), size) };
}

/** This browser's draft: {record, draft} or null. */
export async function localDraft(store, key, rater, size) {
  const record = await store.get("drafts", key);
  if (!record || record.rater !== rater) return null;
  const draft = await readable(record.bytes, size);
  return draft && { record, draft };
}

/**
 * Which draft goes on: {draft, unsaved, source} (`unsaved`: the server does not have it yet), or null when there is none.
 * `choose(local, server)` decides between two that went apart.
 */
export async function pick(local, server, choose = chooseDraft) {
  const ours = local?.draft, theirs = server?.draft;
  if (!ours) return theirs ? { draft: theirs, unsaved: false, source: "server" } : null;
  if (!theirs) return { draft: ours, unsaved: true, source: "browser" };
  const same = local.record.tag === server.tag, clean = local.record.clean;
  if (same) return clean ? { draft: theirs, unsaved: false, source: "server" } : { draft: ours, unsaved: true, source: "browser" };
  if (clean) return { draft: theirs, unsaved: false, source: "server" };
  if (ours.header.writer === theirs.header.writer) {
    // one page wrote both, and the acknowledgement was lost: the one with more strokes
    return ours.header.edit > theirs.header.edit ? { draft: ours, unsaved: true, source: "browser" } : { draft: theirs, unsaved: false, source: "server" };
  }
  return (await choose(local, server)) === "mine" ? { draft: ours, unsaved: true, source: "browser" } : { draft: theirs, unsaved: false, source: "server" };
}

async function chooseDraft(local) {
  const answer = await ask({
    title: "Two versions of this task",
    body: [h("p", {}, `This browser has strokes from ${ago(new Date(local.record.written).toISOString())} that never reached the server, and the task was changed elsewhere since. Which one do you want to go on with?`)],
    actions: [{ label: "The one elsewhere", value: "theirs" }, { label: "The one in this browser", value: "mine", kind: "primary" }],
    must: true,
  });
  return answer ?? "mine";
}
