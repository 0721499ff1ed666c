// The structures by which loaders find the ROM: PXE 2.1, 3.1 (PXENV+), 3.2 (!PXE), 2.5 (UNDI ROM ID).
import { utf8 } from '../bytes.js';

/** How much conventional memory the ROM takes, in bytes; loaders give it back after unloading. */
export const ROM_BYTES = 10 * 1024;
const PAGE = 16;

/** Offsets in the ROM's block of conventional memory. */
export const RomOffsets = {
  PXENV: 0x00,
  BANG_PXE: 0x30,
  ROM_ID: 0x90,
  PXENV_ENTRY: 0xb0,
  PXE_ENTRY: 0xb8,
  CODE_END: 0x100,
  /** UNDI's data: the frame that ISR hands out. */
  FRAME: 0x100,
  FRAME_END: 0x800,
  /** The base code's data: three cached packets. */
  PACKETS: 0x800,
  END: ROM_BYTES,
} as const;

/** Room for each cached packet. */
export const PACKET_BYTES = 1500;

const checksummed = (bytes: Uint8Array, at: number): Uint8Array => {
  bytes[at] = 0;
  bytes[at] = -bytes.reduce((sum, byte) => sum + byte, 0);
  return bytes;
};

const writer = (length: number) => {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  return {
    bytes,
    u8: (at: number, value: number) => view.setUint8(at, value),
    u16: (at: number, value: number) => view.setUint16(at, value, true),
    u32: (at: number, value: number) => view.setUint32(at, value, true),
    far: (at: number, segment: number, offset: number) => {
      view.setUint16(at, offset, true);
      view.setUint16(at + 2, segment, true);
    },
  };
};

/** Sizes of the ROM's parts: code and UNDI's data first, the base code's data behind, as a loader that frees them expects. */
const parts = (segment: number) => {
  const data = segment + RomOffsets.FRAME / PAGE;
  const packets = segment + RomOffsets.PACKETS / PAGE;
  return {
    code: { segment, size: RomOffsets.CODE_END },
    undiData: { segment: data, size: RomOffsets.FRAME_END - RomOffsets.FRAME },
    baseData: { segment: packets, size: RomOffsets.END - RomOffsets.PACKETS },
  };
};

/** 'PXENV+', for loaders of PXE 1 and those that ask by INT 1Ah. */
export const pxenvStructure = (segment: number): Uint8Array => {
  const { code, undiData, baseData } = parts(segment);
  const w = writer(0x2c);
  w.bytes.set(utf8('PXENV+'), 0);
  w.u16(6, 0x0201);
  w.u8(8, 0x2c);
  w.far(10, segment, RomOffsets.PXENV_ENTRY);
  // No protected-mode entry: offset and selector 0.
  w.u16(24, code.segment);
  w.u16(26, code.size);
  w.u16(28, baseData.segment);
  w.u16(30, baseData.size);
  w.u16(32, undiData.segment);
  w.u16(34, undiData.size);
  w.u16(36, code.segment);
  w.u16(38, code.size);
  w.far(40, segment, RomOffsets.BANG_PXE);
  return checksummed(w.bytes, 9);
};

/** '!PXE', the structure of PXE 2. */
export const bangPxeStructure = (segment: number): Uint8Array => {
  const { code, undiData, baseData } = parts(segment);
  const w = writer(0x58);
  w.bytes.set(utf8('!PXE'), 0);
  w.u8(4, 0x58);
  w.far(8, segment, RomOffsets.ROM_ID);
  w.far(16, segment, RomOffsets.PXE_ENTRY);
  // EntryPointESP stays 0: there is no protected-mode entry. A status callout of -1 means that there is none.
  w.u32(24, 0xffff_ffff);
  w.u8(29, 7);
  const descriptors = [{ segment: 0, size: 0 }, undiData, code, code, baseData, code, code];
  descriptors.forEach((part, i) => {
    w.u16(32 + 8 * i, part.segment);
    w.u32(34 + 8 * i, part.segment * PAGE);
    w.u16(38 + 8 * i, part.size);
  });
  return checksummed(w.bytes, 5);
};

/** The UNDI ROM ID; its loader offset 0 says that UNDI is loaded already. */
export const romIdStructure = (): Uint8Array => {
  const w = writer(0x16);
  w.bytes.set(utf8('UNDI'), 0);
  w.u8(4, 0x16);
  w.bytes.set([0, 1, 2], 7);
  w.u16(14, RomOffsets.FRAME_END - RomOffsets.FRAME);
  w.u16(16, RomOffsets.CODE_END);
  w.bytes.set(utf8('PCIR'), 18);
  return checksummed(w.bytes, 5);
};

export const jumpFar = (segment: number, offset: number): Uint8Array => Uint8Array.of(0xea, offset, offset >> 8, segment, segment >> 8);
