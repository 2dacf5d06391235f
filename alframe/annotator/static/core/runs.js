/** Run-length coding of bytes: (length − 1 as a varint of 7 bits a byte, value) for each run. */

export function packRuns(bytes) {
  const out = [];
  for (let start = 0; start < bytes.length;) {
    const value = bytes[start];
    let end = start + 1;
    while (end < bytes.length && bytes[end] === value) end += 1;
    let rest = end - start - 1;
    while (rest > 127) {
      out.push((rest & 127) | 128);
      rest >>>= 7;
    }
    out.push(rest, value);
    start = end;
  }
  return Uint8Array.from(out);
}

export function unpackRuns(packed, size) {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (let index = 0; index < packed.length;) {
    let rest = 0, shift = 0;
    while (packed[index] > 127) {
      rest |= (packed[index] & 127) << shift;
      shift += 7;
      index += 1;
    }
    rest |= packed[index] << shift;
    if (at + rest + 1 > size) throw new RangeError("the runs are longer than the buffer");
    bytes.fill(packed[index + 1], at, at + rest + 1);
    at += rest + 1;
    index += 2;
  }
  if (at !== size) throw new RangeError(`expected runs of ${size} bytes, got ${at}`);
  return bytes;
}
