/** A worker that gzips: Chromium compresses on the thread that asks, and a few megabytes there cost the frames of a stroke. */

import { gzipHere } from "./gzip.js";

addEventListener("message", async ({ data: { id, bytes } }) => {
  const packed = await gzipHere(bytes);
  postMessage({ id, packed }, [packed.buffer]);
});
