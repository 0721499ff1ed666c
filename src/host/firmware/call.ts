import type { CpuRecord, SegmentName } from '../core.js';
import type { LinearMemory } from './linear.js';

const CF = 0x01;
const ZF = 0x40;
const STACK_32 = 0x4000;

/** Interrupts on, and the bit that is always set. */
const FLAGS_ON = 0x202;
/** Where boot sectors find the stack: right below themselves. */
const BOOT_STACK = 0x7c00;

/** A place to go to and the registers there; what is not given is 0. */
export interface JumpTarget {
  segment: number;
  offset: number;
  ss?: number;
  sp?: number;
  ax?: number;
  bx?: number;
  cx?: number;
  dx?: number;
  di?: number;
  ds?: number;
  es?: number;
  /** Data segments reach 4 GB ("big real mode"), or 64 KB; as they do when not given. */
  bigReal?: boolean;
  /** A far return address to leave on the stack. */
  returnTo?: { segment: number; offset: number };
}

/**
 * How a stub was entered and goes back: by INT and IRET, with the caller's flags on the stack; by CALL and RETF, then the stub takes the flags
 * from the stack itself; or in the midst of other code.
 */
export type CallKind = 'interrupt' | 'far' | 'inline';

/** Registers of 32 bits by name; the upper halves of 64-bit ones are never touched. */
const low = (cpu: CpuRecord, name: string): number => cpu.get32(name);

/**
 * One call from the guest into the firmware: its registers, its stack and its memory. Valid while the handler runs, and again after each wait.
 * Byte registers and words leave the rest of their register alone.
 */
export class FirmwareCall {
  /** The caller's flags, as they will be on return. */
  flags: number;

  constructor(
    readonly cpu: CpuRecord,
    readonly memory: LinearMemory,
    readonly kind: CallKind,
  ) {
    this.flags = kind === 'interrupt' ? memory.u16(this.stack(4)) : cpu.flags;
  }

  get eax(): number { return low(this.cpu, 'rax'); }
  set eax(value: number) { this.cpu.set32('rax', value >>> 0); }
  get ebx(): number { return low(this.cpu, 'rbx'); }
  set ebx(value: number) { this.cpu.set32('rbx', value >>> 0); }
  get ecx(): number { return low(this.cpu, 'rcx'); }
  set ecx(value: number) { this.cpu.set32('rcx', value >>> 0); }
  get edx(): number { return low(this.cpu, 'rdx'); }
  set edx(value: number) { this.cpu.set32('rdx', value >>> 0); }
  get esi(): number { return low(this.cpu, 'rsi'); }
  set esi(value: number) { this.cpu.set32('rsi', value >>> 0); }
  get edi(): number { return low(this.cpu, 'rdi'); }
  set edi(value: number) { this.cpu.set32('rdi', value >>> 0); }
  get ebp(): number { return low(this.cpu, 'rbp'); }
  set ebp(value: number) { this.cpu.set32('rbp', value >>> 0); }
  get esp(): number { return low(this.cpu, 'rsp'); }

  get ax(): number { return this.eax & 0xffff; }
  set ax(value: number) { this.eax = word(this.eax, value); }
  get bx(): number { return this.ebx & 0xffff; }
  set bx(value: number) { this.ebx = word(this.ebx, value); }
  get cx(): number { return this.ecx & 0xffff; }
  set cx(value: number) { this.ecx = word(this.ecx, value); }
  get dx(): number { return this.edx & 0xffff; }
  set dx(value: number) { this.edx = word(this.edx, value); }
  get si(): number { return this.esi & 0xffff; }
  set si(value: number) { this.esi = word(this.esi, value); }
  get di(): number { return this.edi & 0xffff; }
  set di(value: number) { this.edi = word(this.edi, value); }
  get bp(): number { return this.ebp & 0xffff; }
  set bp(value: number) { this.ebp = word(this.ebp, value); }

  get al(): number { return this.eax & 0xff; }
  set al(value: number) { this.eax = lowByte(this.eax, value); }
  get ah(): number { return (this.eax >>> 8) & 0xff; }
  set ah(value: number) { this.eax = highByte(this.eax, value); }
  get bl(): number { return this.ebx & 0xff; }
  set bl(value: number) { this.ebx = lowByte(this.ebx, value); }
  get bh(): number { return (this.ebx >>> 8) & 0xff; }
  set bh(value: number) { this.ebx = highByte(this.ebx, value); }
  get cl(): number { return this.ecx & 0xff; }
  set cl(value: number) { this.ecx = lowByte(this.ecx, value); }
  get ch(): number { return (this.ecx >>> 8) & 0xff; }
  set ch(value: number) { this.ecx = highByte(this.ecx, value); }
  get dl(): number { return this.edx & 0xff; }
  set dl(value: number) { this.edx = lowByte(this.edx, value); }
  get dh(): number { return (this.edx >>> 8) & 0xff; }
  set dh(value: number) { this.edx = highByte(this.edx, value); }

  selector(name: SegmentName): number {
    return this.cpu.get32(`${name}Sel`) & 0xffff;
  }

  /** Loads a data segment register as real mode does. */
  setSegment(name: 'ds' | 'es', selector: number): void {
    this.cpu.set32(`${name}Sel`, selector & 0xffff);
    this.cpu.set64(`${name}Base`, BigInt((selector & 0xffff) << 4));
  }

  /** The linear address of an offset in the segment that a register holds. */
  linear(name: SegmentName, offset: number): number {
    return (this.cpu.get32(`${name}Base`) + offset) >>> 0;
  }

  get carry(): boolean {
    return (this.flags & CF) !== 0;
  }

  set carry(value: boolean) {
    this.flags = value ? this.flags | CF : this.flags & ~CF;
  }

  get zero(): boolean {
    return (this.flags & ZF) !== 0;
  }

  set zero(value: boolean) {
    this.flags = value ? this.flags | ZF : this.flags & ~ZF;
  }

  /** The linear address `offset` bytes above the top of the stack, which holds the return address: 4 is behind a far call's. */
  stack(offset: number): number {
    const wide = (this.cpu.get32('ssAttr') & STACK_32) !== 0;
    const sp = this.esp + offset;
    return this.linear('ss', wide ? sp >>> 0 : sp & 0xffff);
  }

  push(...words: number[]): void {
    for (const value of words) {
      this.#moveStack(-2);
      this.memory.setU16(this.stack(0), value);
    }
  }

  pop(): number {
    const value = this.memory.u16(this.stack(0));
    this.#moveStack(2);
    return value;
  }

  /** The stub will return to this address in place of its caller. */
  returnTo(segment: number, offset: number): void {
    this.memory.setU16(this.stack(0), offset);
    this.memory.setU16(this.stack(2), segment);
  }

  /** Leaves the caller for good: real mode at an address, with a stack of its own, data segments 0 and interrupts on. For interrupt stubs. */
  jump(target: JumpTarget): void {
    this.cpu.set32('rsp', target.sp ?? BOOT_STACK);
    this.cpu.set32('ssSel', target.ss ?? 0);
    this.cpu.set64('ssBase', BigInt((target.ss ?? 0) << 4));
    this.setSegment('ds', target.ds ?? 0);
    this.setSegment('es', target.es ?? 0);
    this.eax = target.ax ?? 0;
    this.ebx = target.bx ?? 0;
    this.ecx = target.cx ?? 0;
    this.edx = target.dx ?? 0;
    this.esi = this.ebp = 0;
    this.edi = target.di ?? 0;
    this.flags = FLAGS_ON;
    if (target.bigReal !== undefined) for (const name of ['ds', 'es', 'fs', 'gs']) this.cpu.set32(`${name}Limit`, target.bigReal ? 0xffff_ffff : 0xffff);
    if (target.returnTo !== undefined) this.push(target.returnTo.segment, target.returnTo.offset);
    this.push(this.flags, target.segment, target.offset);
  }

  #moveStack(bytes: number): void {
    const wide = (this.cpu.get32('ssAttr') & STACK_32) !== 0;
    const sp = this.esp + bytes;
    this.cpu.set32('rsp', wide ? sp >>> 0 : word(this.esp, sp));
  }
}

const word = (register: number, value: number): number => ((register & 0xffff_0000) | (value & 0xffff)) >>> 0;
const lowByte = (register: number, value: number): number => ((register & 0xffff_ff00) | (value & 0xff)) >>> 0;
const highByte = (register: number, value: number): number => ((register & 0xffff_00ff) | ((value & 0xff) << 8)) >>> 0;
