const WORDS = ['page', 'table', 'walk', 'port', 'ring', 'fault', 'gate', 'timer', 'disk', 'queue'];

/** The same pseudo-random numbers every time. */
export function generator(seed = 1): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
}

/** `size` bytes of words: compressible, with calls and jumps among them for the x86 filter. */
export function text(size: number): Buffer {
  const next = generator();
  let out = '';
  while (out.length < size) {
    const pick = next() % 16;
    if (pick < WORDS.length) out += `${WORDS[pick]} `;
    else if (pick === 10) out += '\xe8\x10\x02\x00\x00';
    else if (pick === 11) out += `\xe9\xe8${String.fromCharCode(next() & 0xff)}\xff\xff\xff`;
    else out += `${next() % 1000}\n`;
  }
  return Buffer.from(out.slice(0, size), 'latin1');
}

/** `size` bytes that do not compress. */
export function noise(size: number): Buffer {
  const next = generator(7);
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = next();
  return bytes;
}
