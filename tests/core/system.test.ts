// Segments, gates, tasks, virtual-8086 and compatibility mode, debug exceptions, by the bare-metal programs in guest/. The texts in fixtures/ were
// compared line by line with QEMU's; where it departs from the SDM, the patterns below say so.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { CoreHarness } from '../support/core-harness.js';
import { describeEngineEach } from '../support/engines.js';

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const INSTRUCTIONS = 20_000_000;

/** Runs a multiboot ELF of 32 bits from its entry in flat protected mode; returns what it wrote to port 0xE9. */
const runGuest = (elf: Buffer): string => {
  const machine = new CoreHarness(16 << 20);
  let text = '';
  machine.bus = {
    portRead: (port) => (port === 0x92 ? 2 : 0xff),
    portWrite: (port, _size, value) => {
      if (port === 0xe9) text += String.fromCharCode(value & 0xff);
    },
  };
  machine.setMode('prot32');
  machine.set64('cr0', 0x11);
  machine.set64('cr4', 0);
  machine.set64('efer', 0);
  const headers = elf.readUInt32LE(28);
  for (let n = 0; n < elf.readUInt16LE(44); n++) {
    const header = headers + n * elf.readUInt16LE(42);
    if (elf.readUInt32LE(header) !== 1) continue;
    const offset = elf.readUInt32LE(header + 4);
    machine.set(elf.readUInt32LE(header + 12), elf.subarray(offset, offset + elf.readUInt32LE(header + 16)));
  }
  machine.rip = elf.readUInt32LE(24);
  machine.updateMode();
  let exit = 0;
  while (exit === 0 && machine.core.instructions(0) < INSTRUCTIONS) exit = machine.goDelivering(INSTRUCTIONS);
  expect(exit, text.slice(-500)).toBe(1);
  return text;
};

const GUESTS = [
  {
    name: 'system32',
    qemu: ['qemu-system-i386'],
    departures: [
      /^00d[8b]k /, // JMP through a gate to absent code: #GP there, #NP in the SDM
      /^0000 lldt - ltr /, // LTR of a null selector
      /^15:0008 /, // a task whose DS is code writes through it: no segment limits or types there
      /^wide-/, // a word at 0xffff
    ],
  },
  {
    name: 'system64',
    qemu: ['qemu-system-x86_64', '-cpu', 'qemu64'],
    departures: [
      /^0003k /, // a null SS with another RPL
      /^0098k /, // code with L and D
      /^00a0k /, // IRET to an absent SS: #NP there
      /^00[cef][0-3][ku] ds/, // LAR and LSL of 16-bit system types
      /^0000 lldt|^00c0 lldt|^0100 lldt/, // LTR of what is no 64-bit TSS
      /^int4[2347][ku] /, // index of the gate in error codes: times 16 there
      /^wild_(jump|ret|iret)/, // the fault belongs to the branch
      /^cr5u/, // #UD goes before #GP
      /^- r11=3ed7 /, // SYSCALL loses the arithmetic flags there
      /^no sysenter/, // no SYSENTER in long mode on that model
    ],
  },
];

describeEngineEach(GUESTS, '$name', ({ name, qemu, departures }) => {
  const elf = readFileSync(fixture(`${name}.elf`));
  const expected = fixture(`${name}.txt`);

  it('behaves as recorded', () => {
    const text = runGuest(elf);
    if (process.env.VMLET_UPDATE) writeFileSync(expected, text);
    expect(text.split('\n')).toEqual(readFileSync(expected, 'utf8').split('\n'));
  });

  const hasQemu = spawnSync(qemu[0], ['--version']).status === 0;
  it.skipIf(!hasQemu)(
    'agrees with QEMU',
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'vmlet-'));
      try {
        const out = join(folder, 'out.txt');
        const [program, ...options] = qemu;
        const quiet = ['-display', 'none', '-serial', 'none', '-monitor', 'none', '-no-reboot', '-m', '64'];
        const kernel = ['-accel', 'tcg', '-kernel', fixture(`${name}.elf`), '-debugcon', `file:${out}`, '-device', 'isa-debug-exit,iobase=0xf4'];
        spawnSync(program, [...options, ...quiet, ...kernel], { timeout: 60_000 });
        const lines = (text: string) => text.split('\n').filter((line) => !line.startsWith('!'));
        const theirs = lines(readFileSync(out, 'utf8'));
        const ours = lines(readFileSync(expected, 'utf8'));
        expect(theirs.length).toBe(ours.length);
        const differing = ours.filter((line, n) => line !== theirs[n] && !departures.some((pattern) => pattern.test(line)));
        expect(differing).toEqual([]);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
    90_000,
  );
});
