// What the PXE ROM needs of the firmware that it is an option of. src/host/firmware's traps and calls have these shapes.

/** Memory as the guest's program addresses it. */
export interface RomMemory {
  u8(lin: number): number;
  u16(lin: number): number;
  u32(lin: number): number;
  setU8(lin: number, value: number): void;
  setU16(lin: number, value: number): void;
  setU32(lin: number, value: number): void;
  bytes(lin: number, length: number): Uint8Array;
  write(lin: number, bytes: Uint8Array): void;
}

/** Where a loader begins: real mode, the registers there, and the address to return to that is left on the stack. */
export interface RomTarget {
  segment: number;
  offset: number;
  sp?: number;
  bx?: number;
  dx?: number;
  es?: number;
  returnTo?: { segment: number; offset: number };
}

/** A call from the guest: its registers, its stack, its memory. */
export interface RomCall {
  readonly memory: RomMemory;
  readonly eax: number;
  ax: number;
  bx: number;
  edx: number;
  readonly di: number;
  carry: boolean;
  linear(segment: 'es', offset: number): number;
  /** Linear address above the return address on the stack: 4 is behind a far call's. */
  stack(offset: number): number;
  setSegment(name: 'ds' | 'es', selector: number): void;
  returnTo(segment: number, offset: number): void;
  jump(target: RomTarget): void;
}

/** Whether what is waited for has come. */
export type RomReady = () => boolean;
export type RomSteps = Generator<RomReady, void, void>;

export interface RomTraps {
  /** A routine for far calls; returns its offset in the firmware's segment. */
  far(handler: (call: RomCall) => void | RomSteps): number;
  /** Code that enters the host, to be built into a stub with the frame of an interrupt on the stack. */
  onTrap(handler: (call: RomCall) => void | RomSteps, kind: 'interrupt'): number[];
  /** Puts code into the firmware's segment and returns its offset. */
  place(code: readonly number[]): number;
  /** Ready at a virtual time. */
  until(atNs: number): RomReady;
}

/** Where the ROM's words appear and keys come from. */
export interface RomConsole {
  print(text: string): void;
  /** A key that was pressed since the last call: its scan code and character. */
  key(): { readonly scan: number; readonly char: number } | undefined;
}

/** A PCI card as PXE's UNDI_GET_NIC_TYPE describes it. */
export interface RomCard {
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number;
  readonly subsystem: number;
  readonly revision: number;
  /** Bus, device and function in PCI's 16 bits. */
  readonly location: number;
}
