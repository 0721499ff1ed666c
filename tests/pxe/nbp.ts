// A network boot program of our own: it calls the functions of the PXE API that it is told to, and leaves what they said in memory.

const ENTRY = 0x0600;
const RESULTS = 0x0700;
export const NBP_CODE_AT = 0x7c00;
export const NBP_PRESENCE = 0x0640;
const TABLE_OFFSET = 0x100;

export interface ApiCall {
  opcode: number;
  /** The parameter block; it is changed in place. */
  params: Uint8Array;
}

const word = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff];

/** The program's bytes. `via` is the structure whose entry point is used; the code of the debug exit says that it came to its end. */
export const apiProgram = (calls: readonly ApiCall[], via: '!PXE' | 'PXENV+' = '!PXE', exit = 0x10): Uint8Array => {
  const code: number[] = [
    // The address of !PXE is behind the return address; that of PXENV+ in ES:BX.
    ...(via === '!PXE' ? [0x89, 0xe5, 0xc4, 0x5e, 0x04, 0x26, 0x66, 0x8b, 0x47, 0x10] : [0x26, 0x66, 0x8b, 0x47, 0x0a]),
    0x66, 0xa3, ...word(ENTRY),
    0xfc, 0x0e, 0x1f, 0x0e, 0x07,
    // INT 1Ah AX=5650h, its AX, BX and ES.
    0xb8, ...word(0x5650), 0xcd, 0x1a, 0x1e, 0xa3, ...word(NBP_PRESENCE), 0x89, 0x1e, ...word(NBP_PRESENCE + 2), 0x8c, 0x06, ...word(NBP_PRESENCE + 4), 0x1f, 0x1e, 0x07,
    0xbe, ...word(NBP_CODE_AT + TABLE_OFFSET), 0xbf, ...word(RESULTS),
  ];
  const loop = code.length;
  code.push(0xad, 0x3d, 0xff, 0xff, 0x74, 0);
  const toDone = code.length - 1;
  code.push(0x89, 0xc1, 0xad, 0x89, 0xc2, 0x56, 0x52, 0x57);
  if (via === '!PXE') code.push(0x1e, 0x56, 0x51, 0xff, 0x1e, ...word(ENTRY), 0x59, 0x59, 0x59);
  else code.push(0x89, 0xf7, 0x89, 0xcb, 0xff, 0x1e, ...word(ENTRY));
  code.push(0x5f, 0x1e, 0x07, 0xab, 0x9f, 0x88, 0xe0, 0x30, 0xe4, 0xab, 0x5a, 0x5e, 0x01, 0xd6);
  code.push(0xeb, (loop - (code.length + 2)) & 0xff);
  code[toDone] = code.length - (toDone + 1);
  code.push(0xb0, exit, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd);
  const table = calls.flatMap(({ opcode, params }) => [...word(opcode), ...word(params.length), ...params]);
  const bytes = new Uint8Array(TABLE_OFFSET + table.length + 2);
  bytes.set(code);
  bytes.set([...table, 0xff, 0xff], TABLE_OFFSET);
  return bytes;
};

export interface ApiResult {
  /** PXENV_EXIT_SUCCESS is 0, PXENV_EXIT_FAILURE 1. */
  ax: number;
  carry: boolean;
  status: number;
  params: Uint8Array;
  view: DataView;
}

/** What the calls left behind. */
export const apiResults = (ram: Uint8Array, calls: readonly ApiCall[]): ApiResult[] => {
  let at = NBP_CODE_AT + TABLE_OFFSET;
  return calls.map(({ params }, i) => {
    const results = new DataView(ram.buffer, ram.byteOffset + RESULTS + 4 * i, 4);
    const after = ram.slice(at + 4, at + 4 + params.length);
    at += 4 + params.length;
    const view = new DataView(after.buffer);
    return { ax: results.getUint16(0, true), carry: (results.getUint8(2) & 1) !== 0, status: view.getUint16(0, true), params: after, view };
  });
};

/** A parameter block of `length` bytes with fields at offsets: numbers are words, `[n]` double words, texts and bytes as they are. */
export const block = (length: number, fields: Readonly<Record<number, number | readonly [number] | string | Uint8Array>> = {}): Uint8Array => {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  for (const [offset, value] of Object.entries(fields)) {
    const at = Number(offset);
    if (typeof value === 'number') view.setUint16(at, value, true);
    else if (typeof value === 'string') bytes.set(new TextEncoder().encode(value), at);
    else if (value instanceof Uint8Array) bytes.set(value, at);
    else view.setUint32(at, value[0], true);
  }
  return bytes;
};

export const ip = (text: string): Uint8Array => Uint8Array.from(text.split('.'), Number);
export const port = (number: number): Uint8Array => Uint8Array.of(number >> 8, number);
