/** Several raters' labels of one region: majority, where they differ, and how much. Pure. */

import { OPEN } from "./labels.js";

/** The most frequent class of each pixel among `masks`; ties go to whoever comes first; open where nobody said anything. */
export function majority(masks) {
  const out = new Uint8Array(masks[0].length), votes = new Uint8Array(256);
  for (let index = 0; index < out.length; index += 1) {
    let best = OPEN, most = 0;
    for (const mask of masks) if (mask[index] !== OPEN) votes[mask[index]] += 1;
    for (const mask of masks) {
      const value = mask[index];
      if (value !== OPEN && votes[value] > most) { best = value; most = votes[value]; }
    }
    for (const mask of masks) votes[mask[index]] = 0;
    out[index] = best;
  }
  return out;
}

/** 1 where the classes of the masks are not all the same; what is left open differs from nothing. */
export function disputed(masks) {
  const out = new Uint8Array(masks[0].length);
  for (let index = 0; index < out.length; index += 1) {
    let seen = OPEN;
    for (const mask of masks) {
      const value = mask[index];
      if (value === OPEN) continue;
      if (seen !== OPEN && seen !== value) { out[index] = 1; break; }
      seen = value;
    }
  }
  return out;
}
