/** A zstd frame of raw blocks: compression without a compressor. */
export function zstdCompress(data: Buffer): Buffer {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0]);
  header.writeUInt32LE(data.length, 5);
  const parts: Buffer[] = [header];
  for (let at = 0; at < data.length || at === 0; at += 0x10000) {
    const block = data.subarray(at, at + 0x10000);
    const last = at + 0x10000 >= data.length ? 1 : 0;
    const word = (block.length << 3) | last;
    parts.push(Buffer.from([word & 0xff, (word >> 8) & 0xff, word >> 16]), block);
  }
  return Buffer.concat(parts);
}
