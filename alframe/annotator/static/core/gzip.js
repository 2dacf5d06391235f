/** gzip on the thread that asks. */

const through = async (bytes, stream) => new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());

export const gzipHere = (bytes) => through(bytes, new CompressionStream("gzip"));
export const gunzip = (bytes) => through(bytes, new DecompressionStream("gzip"));
