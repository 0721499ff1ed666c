// The interrupt services, called by guest code from a boot sector.
import { describe, expect, it } from 'vitest';
import { MemoryBlock } from '../../../src/host/backends/block.js';
import { screenText } from '../../../src/host/devices/vga.js';
import type { Machine, MachineOptions } from '../../../src/host/machine.js';
import type { TextChar } from '../machine-support.js';
import { type BiosAnswer, type BiosRequest, callBios, CALLER_DONE, type CallerRun, canRunGuests } from './support.js';

const call = async (requests: readonly BiosRequest[], options: Partial<MachineOptions> = {}, prepare?: (machine: Machine, serial: TextChar) => void): Promise<CallerRun> => {
  const run = await callBios(requests, options, prepare);
  expect(run.exit).toMatchObject({ reason: 'debug-exit', code: CALLER_DONE });
  return run;
};
const one = async (request: BiosRequest, options: Partial<MachineOptions> = {}): Promise<BiosAnswer> => (await call([request], options)).answers[0];
const view = ({ machine }: CallerRun): DataView => new DataView(machine.core.ram.buffer, machine.core.ram.byteOffset, machine.core.ram.byteLength);
const screen = ({ machine }: CallerRun): string[] => screenText(machine.board.vga.screen!).split('\n');
/** INT 10h AX=0E00h for each character. */
const print = (text: string): BiosRequest[] => [...text].map(char => ({ vector: 0x10, eax: 0x0e00 | char.charCodeAt(0), ebx: 7 }));

describe.skipIf(!canRunGuests)('firmware services (needs gcc, binutils and dist/core.wasm)', () => {
  describe('INT 10h', () => {
    it('prints on the screen and on the serial line, scrolls and wraps', async () => {
      const run = await call([{ vector: 0x10, eax: 0x0003 }, ...print('one\r\ntwo\b!\x07'), { vector: 0x10, eax: 0x0300 }]);
      expect(screen(run).slice(0, 2)).toEqual(['one', 'tw!']);
      expect(run.answers.at(-1)).toMatchObject({ cx: 0x0607, dx: 0x0103 });
      expect(run.serial.text).toContain('one\r\ntwo\b!\x07');
      const long = await call([{ vector: 0x10, eax: 0x0003 }, { vector: 0x10, eax: 0x0200, edx: 0x184e }, ...print('xyz')]);
      expect(screen(long).slice(23)).toEqual([`${' '.repeat(78)}xy`, 'z']);
    });

    it('writes cells with attributes and reads them back', async () => {
      const run = await call([
        { vector: 0x10, eax: 0x0003 },
        { vector: 0x10, eax: 0x0200, edx: 0x0505 },
        { vector: 0x10, eax: 0x09c4, ebx: 0x001e, ecx: 10 },
        { vector: 0x10, eax: 0x0a41, ecx: 1 },
        { vector: 0x10, eax: 0x0800 },
        { vector: 0x10, eax: 0x0300 },
      ]);
      expect(screen(run)[5]).toBe(`     A${'─'.repeat(9)}`);
      expect(run.answers[4].ax).toBe(0x1e41);
      expect(run.answers[5].dx).toBe(0x0505);
      // Yellow on blue, at its place.
      expect(Buffer.from(run.serial.text, 'latin1').toString()).toContain('\x1b[6;6H\x1b[0;1;33;44m──');
    });

    it('says once what is written with its colour and then again to move the cursor', async () => {
      const coloured: BiosRequest[] = [...'iPXE'].flatMap(char => [{ vector: 0x10, eax: 0x0900 | char.charCodeAt(0), ebx: 0x0f, ecx: 1 }, { vector: 0x10, eax: 0x0e00 | char.charCodeAt(0), ebx: 7 }]);
      const run = await call([{ vector: 0x10, eax: 0x0003 }, ...coloured]);
      expect(run.serial.text).toMatch(/\x1b\[0;1miPXE$/);
    });

    it('scrolls windows both ways', async () => {
      const lines: BiosRequest[] = [0, 1, 2, 3].flatMap(row => [{ vector: 0x10, eax: 0x0200, edx: row << 8 }, { vector: 0x10, eax: 0x0930 + row, ebx: 7, ecx: 4 }]);
      const up = await call([{ vector: 0x10, eax: 0x0003 }, ...lines, { vector: 0x10, eax: 0x0601, ebx: 0x0700, ecx: 0x0001, edx: 0x0302 }]);
      expect(screen(up).slice(0, 4)).toEqual(['0110', '1221', '2332', '3  3']);
      const down = await call([{ vector: 0x10, eax: 0x0003 }, ...lines, { vector: 0x10, eax: 0x0702, ebx: 0x0700, ecx: 0x0000, edx: 0x034f }]);
      expect(screen(down).slice(0, 4)).toEqual(['', '', '0000', '1111']);
      const clear = await call([{ vector: 0x10, eax: 0x0003 }, ...lines, { vector: 0x10, eax: 0x0600, ebx: 0x0700, edx: 0x184f }]);
      expect(screen(clear).join('')).toBe('');
    });

    it('writes strings, with attributes between the characters if wanted', async () => {
      const text = { vector: 0x10, eax: 0x1301, ebx: 7, ecx: 5, edx: 0x0203, es: 0, ebp: 0x9800 };
      const run = await call([{ vector: 0x10, eax: 0x0003 }, text, { vector: 0x10, eax: 0x0300 }, { ...text, eax: 0x1302, ecx: 2, edx: 0x0300, ebp: 0x9810 }], {}, ({ firmware }) =>
        firmware!.onPost(() => {
          firmware!.memory.write(0x9800, new TextEncoder().encode('hello'));
          firmware!.memory.write(0x9810, Uint8Array.of(0x41, 0x4f, 0x42, 0x1f));
        }),
      );
      expect(screen(run).slice(2, 4)).toEqual(['   hello', 'AB']);
      expect(run.answers[2].dx).toBe(0x0208);
      expect([...run.machine.board.vga.window.subarray(0x1_8000 + 480, 0x1_8000 + 484)]).toEqual([0x41, 0x4f, 0x42, 0x1f]);
    });

    it('tells its state, has pages and sizes of text', async () => {
      const run = await call([
        { vector: 0x10, eax: 0x0003 },
        { vector: 0x10, eax: 0x0f00 },
        { vector: 0x10, eax: 0x0502 },
        { vector: 0x10, eax: 0x0200, ebx: 0x0200, edx: 0x0000 },
        ...print('P2'),
        { vector: 0x10, eax: 0x1a00 },
        { vector: 0x10, eax: 0x1200, ebx: 0x10 },
        { vector: 0x10, eax: 0x4f00, edi: 0x9000 },
        { vector: 0x10, eax: 0x0100, ecx: 0x2000 },
      ]);
      expect(run.answers[1]).toMatchObject({ ax: 0x5003, bx: 0x0000 });
      expect(run.answers[6]).toMatchObject({ al: 0x1a, bx: 8 });
      expect(run.answers[7]).toMatchObject({ bx: 3, cx: 9 });
      expect(run.answers[8].ax).toBe(0x4f00);
      expect(screen(run)[0]).toBe('P2');
      expect(run.machine.board.vga.screen!.cursor).toBeUndefined();
      const small = await call([{ vector: 0x10, eax: 0x0003 }, { vector: 0x10, eax: 0x1112 }, { vector: 0x10, eax: 0x1130 }, { vector: 0x10, eax: 0x0001 }]);
      expect(small.answers[2].edx & 0xff).toBe(49);
      expect(small.machine.board.vga.screen).toMatchObject({ columns: 40, rows: 25 });
    });

    it('is silent on the serial line once the guest drives that itself', async () => {
      const run = await call([...print('before'), { vector: 0x14, eax: 0x01_2a, edx: 0 }, ...print('behind')]);
      expect(run.serial.text).toMatch(/before\*$/);
      expect(screen(run).join('\n')).toContain('beforebehind');
    });
  });

  describe('INT 11h, 12h, 17h', () => {
    it('tell what the machine has', async () => {
      const { answers } = await call([{ vector: 0x11 }, { vector: 0x12 }, { vector: 0x17, eax: 0x0200 }]);
      // A floppy, an FPU, 80 columns, one serial port, no printer.
      expect(answers[0].ax).toBe(0x0223);
      expect(answers[1].ax).toBe(639);
      expect(answers[2].ah).toBe(1);
    });
  });

  describe('INT 13h', () => {
    const whole = new Uint8Array(8 * 2 ** 20);
    for (let n = 0; n < whole.length; n++) whole[n] = (n >> 9) ^ n;
    const pattern = (bytes: number): Uint8Array => whole.slice(0, bytes);
    const hard = (megabytes: number) => new MemoryBlock(pattern(megabytes * 2 ** 20));

    it('reads, writes and verifies by cylinder, head and sector', async () => {
      const disk = hard(8);
      const run = await call(
        [
          { vector: 0x13, eax: 0x0203, ebx: 0x9000, ecx: 0x0105, edx: 0x0280 },
          { vector: 0x13, eax: 0x0301, ebx: 0x9000, ecx: 0x0001, edx: 0x0180 },
          { vector: 0x13, eax: 0x0402, ecx: 0x0001, edx: 0x0080 },
          { vector: 0x13, eax: 0x0201, ebx: 0x9000, ecx: 0x0040, edx: 0x0080 },
          { vector: 0x13, eax: 0x0100, edx: 0x80 },
          { vector: 0x13, eax: 0x0000, edx: 0x80 },
          { vector: 0x13, eax: 0x0201, ecx: 1, edx: 0x81 },
          { vector: 0x13, eax: 0x0c00, ecx: 0x0001, edx: 0x80 },
        ],
        { disks: [disk] },
      );
      const [read, write, verify, bad, status, reset, none, seek] = run.answers;
      expect(read).toMatchObject({ ax: 3, carry: false });
      const lba = (1 * 16 + 2) * 63 + 4;
      const expected = pattern(8 * 2 ** 20).subarray(lba * 512, (lba + 3) * 512);
      expect(run.machine.core.ram.slice(0x9000, 0x9000 + 1536)).toEqual(expected.slice());
      expect(write).toMatchObject({ ax: 1, carry: false });
      const written = new Uint8Array(512);
      disk.read(63 * 512, written);
      expect(written).toEqual(expected.slice(0, 512));
      expect(verify).toMatchObject({ ah: 0, carry: false });
      expect([bad.ah, bad.carry, status.ah, status.carry]).toEqual([4, true, 4, true]);
      expect([reset.ah, reset.carry, none.ah, none.carry, seek.carry]).toEqual([0, false, 1, true, false]);
    });

    it('tells the geometry of floppies and disks', async () => {
      const { answers } = await call(
        [
          { vector: 0x13, eax: 0x0800, edx: 0x00 }, { vector: 0x13, eax: 0x0800, edx: 0x80 }, { vector: 0x13, eax: 0x1500, edx: 0x80 }, { vector: 0x13, eax: 0x1500, edx: 0x00 },
          { vector: 0x13, eax: 0x0800, edx: 0x81 }, { vector: 0x13, eax: 0x1500, edx: 0x82 },
        ],
        { disks: [hard(8)], ideDisks: [new MemoryBlock(1200 * 2 ** 20)] },
      );
      expect(answers[0]).toMatchObject({ carry: false, cx: 0x4f12, dx: 0x0101 });
      expect(answers[0].bx).toBe(4);
      // 1200 MB: 64 heads keep it below 1024 cylinders; the IDE disk comes first.
      expect(answers[1]).toMatchObject({ carry: false, dx: 0x3f02 });
      expect([((answers[1].cx & 0xc0) << 2) | (answers[1].cx >> 8), answers[1].cx & 0x3f]).toEqual([608, 63]);
      expect(answers[2]).toMatchObject({ ah: 3, carry: false });
      expect(answers[3].ah).toBe(1);
      expect(answers[4]).toMatchObject({ carry: false, dx: 0x0f02 });
      expect(answers[5]).toMatchObject({ ah: 0 });
    });

    it('takes the geometry of a partition table', async () => {
      const bytes = new Uint8Array(16 * 2 ** 20);
      // One partition from 0/1/1 to 63/3/17 of 4 heads and 17 sectors.
      bytes.set([0x80, 1, 1, 0, 6, 3, 17, 63, 17, 0, 0, 0, 0xef, 0x10, 0, 0], 0x1be);
      bytes.set([0x55, 0xaa], 510);
      const answer = await one({ vector: 0x13, eax: 0x0800, edx: 0x80 }, { disks: [new MemoryBlock(bytes)] });
      expect([answer.cx & 0x3f, answer.dx >> 8]).toEqual([17, 3]);
    });

    it('has the extensions, with flat addresses and their limits', async () => {
      const packet = (at: number, bytes: number[]) => ({ at, bytes });
      const packets = [
        packet(0x9c00, [0x10, 0, 2, 0, 0x00, 0x90, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]),
        packet(0x9c20, [0x18, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0]),
        packet(0x9c40, [0x10, 0, 1, 0, 0x00, 0x90, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
      ];
      const run = await call(
        [
          { vector: 0x13, eax: 0x4100, ebx: 0x55aa, edx: 0x80 },
          { vector: 0x13, eax: 0x4200, esi: 0x9c00, edx: 0x80 },
          { vector: 0x13, eax: 0x4200, esi: 0x9c20, edx: 0x80 },
          { vector: 0x13, eax: 0x4200, esi: 0x9c40, edx: 0x80 },
          { vector: 0x13, eax: 0x4800, esi: 0x9d00, edx: 0x80 },
          { vector: 0x13, eax: 0x4100, ebx: 0x55aa, edx: 0x00 },
          { vector: 0x13, eax: 0x4300, esi: 0x9c00, edx: 0x81 },
          { vector: 0x13, eax: 0x4600, edx: 0x80 },
        ],
        { disks: [hard(8), new MemoryBlock(pattern(2 ** 20), true)] },
        ({ firmware }) =>
          firmware!.onPost(() => {
            for (const { at, bytes } of packets) firmware!.memory.write(at, Uint8Array.from(bytes));
            firmware!.memory.setU16(0x9d00, 0x1e);
          }),
      );
      const [check, far, flat, behind, parameters, floppy, protectedDisk, eject] = run.answers;
      expect(check).toMatchObject({ bx: 0xaa55, ah: 0x30, carry: false, cx: 5 });
      const data = pattern(8 * 2 ** 20);
      expect(far).toMatchObject({ ah: 0, carry: false });
      expect(run.machine.core.ram.slice(0x9000, 0x9400)).toEqual(data.slice(5 * 512, 7 * 512));
      expect(flat.carry).toBe(false);
      expect(run.machine.core.ram.slice(0x20_0000, 0x20_0200)).toEqual(data.slice(7 * 512, 8 * 512));
      expect(behind).toMatchObject({ ah: 1, carry: true });
      expect(view(run).getUint16(0x9c42, true)).toBe(0);
      expect(parameters.carry).toBe(false);
      expect([view(run).getUint32(0x9d10, true), view(run).getUint16(0x9d18, true), view(run).getUint16(0x9d02, true) & 2]).toEqual([16384, 512, 2]);
      expect(floppy).toMatchObject({ ah: 1, carry: true });
      expect(protectedDisk).toMatchObject({ ah: 3, carry: true });
      expect(eject).toMatchObject({ ah: 0xb2, carry: true });
    });
  });

  describe('INT 14h', () => {
    it('sets up, sends, receives and gives up', async () => {
      const run = await call(
        [
          { vector: 0x14, eax: 0x00e3, edx: 0 },
          { vector: 0x14, eax: 0x0141, edx: 0 },
          { vector: 0x14, eax: 0x0200, edx: 0 },
          { vector: 0x14, eax: 0x0200, edx: 0 },
          { vector: 0x14, eax: 0x0300, edx: 3 },
        ],
        {},
        (machine, serial) => machine.clock.timer(() => serial.sink.receive(Uint8Array.of(0x7a))).arm(200e6),
      );
      expect(run.answers[0].ax & 0x60b0).toBe(0x60b0);
      expect(run.serial.text).toMatch(/A$/);
      expect(run.answers[2]).toMatchObject({ al: 0x7a });
      expect(run.answers[2].ah & 0x80).toBe(0);
      expect(run.answers[3].ah & 0x80).toBe(0x80);
      expect(run.answers[4].ax).toBe(0x0300);
    });
  });

  describe('INT 15h', () => {
    it('tells the memory in all its ways', async () => {
      const requests: BiosRequest[] = [0, 1, 2, 3, 9].map(index => ({ vector: 0x15, eax: 0xe820, ebx: index, ecx: 24, edx: 0x534d_4150, edi: 0x9000 + 24 * index }));
      const run = await call([...requests, { vector: 0x15, eax: 0xe801 }, { vector: 0x15, eax: 0x8800 }, { vector: 0x15, eax: 0xe881 }, { vector: 0x15, eax: 0xe820, ecx: 24, edx: 1 }]);
      const map = [0, 1, 2, 3].map(n => [0, 8].map(at => Number(view(run).getBigUint64(0x9000 + 24 * n + at, true))).concat(view(run).getUint32(0x9010 + 24 * n, true)));
      expect(map).toEqual([
        [0, 0x9_fc00, 1],
        [0x9_fc00, 0x400, 2],
        [0xe_0000, 0x2_0000, 2],
        [0x10_0000, 31 * 2 ** 20, 1],
      ]);
      expect(run.answers.slice(0, 4).map(answer => [answer.eax, answer.ebx, answer.ecx, answer.carry])).toEqual([1, 2, 3, 0].map(next => [0x534d_4150, next, 20, false]));
      expect(run.answers[4]).toMatchObject({ ah: 0x86, carry: true });
      expect(run.answers[5]).toMatchObject({ ax: 15 * 1024, bx: 256, cx: 15 * 1024, dx: 256, carry: false });
      expect(run.answers[6]).toMatchObject({ ax: 31 * 1024, carry: false });
      expect(run.answers[7]).toMatchObject({ eax: 15 * 1024, ebx: 256, carry: false });
      expect(run.answers[8].carry).toBe(true);
    });

    it('moves blocks to where real mode does not reach', async () => {
      const run = await call([{ vector: 0x15, eax: 0x8700, ecx: 4, esi: 0x9000 }, { vector: 0x15, eax: 0x8700, ecx: 0x8001, esi: 0x9000 }], {}, ({ firmware }) =>
        firmware!.onPost(() => {
          firmware!.memory.write(0x9010, Uint8Array.of(0xff, 0xff, 0x00, 0x98, 0x00, 0x93, 0, 0, 0xff, 0xff, 0x78, 0x56, 0x14, 0x93, 0, 0x01));
          firmware!.memory.write(0x9800, new TextEncoder().encode('12345678'));
        }),
      );
      expect(run.answers[0]).toMatchObject({ ah: 0, carry: false });
      expect(new TextDecoder().decode(run.machine.core.ram.slice(0x114_5678, 0x114_5680))).toBe('12345678');
      expect(run.answers[1]).toMatchObject({ ah: 2, carry: true });
    });

    it('gates A20', async () => {
      const { answers } = await call([0x2402, 0x2400, 0x2402, 0x2401, 0x2402, 0x2403].map(eax => ({ vector: 0x15, eax })));
      expect(answers.map(answer => answer.carry)).toEqual(new Array(6).fill(false));
      expect([answers[0].al, answers[2].al, answers[4].al, answers[5].bx]).toEqual([1, 0, 1, 3]);
    });

    it('waits, in time that passes', async () => {
      const { exit, answers } = await call([{ vector: 0x15, eax: 0x8600, ecx: 0x0007, edx: 0xa120 }]);
      expect(answers[0]).toMatchObject({ ah: 0, carry: false });
      expect(exit.timeNs).toBeGreaterThan(500e6);
      expect(exit.timeNs).toBeLessThan(502e6);
      const event = await call([{ vector: 0x15, eax: 0x8300, ecx: 0, edx: 1000, ebx: 0x9000 }, { vector: 0x15, eax: 0x8300, edx: 1000 }, { vector: 0x15, eax: 0x8301 }, { vector: 0x15, eax: 0x8300, edx: 1000, ebx: 0x9000 }, { vector: 0x15, eax: 0x8600, edx: 5000 }, { vector: 0x16, eax: 0x0100 }]);
      expect(event.answers.slice(0, 4).map(answer => answer.carry)).toEqual([false, true, false, false]);
      expect(event.answers[4]).toMatchObject({ ah: 0x83, carry: true });
    });

    it('has a configuration table and an extended data area, and refuses the rest', async () => {
      const run = await call([{ vector: 0x15, eax: 0xc000 }, { vector: 0x15, eax: 0xc100 }, { vector: 0x15, eax: 0x5300 }, { vector: 0x15, eax: 0xc200 }, { vector: 0x15, eax: 0x8400 }, { vector: 0x15, eax: 0xd800 }, { vector: 0x15, eax: 0xec00, ebx: 2 }]);
      const [table, area, ...rest] = run.answers;
      expect(table).toMatchObject({ ah: 0, carry: false, es: 0xf000 });
      expect(view(run).getUint8(0xf_0000 + table.bx + 2)).toBe(0xfc);
      expect(area).toMatchObject({ carry: false, es: 0x9fc0 });
      expect(rest.slice(0, 4).map(answer => [answer.ah, answer.carry])).toEqual(new Array(4).fill([0x86, true]));
      expect(rest[4].carry).toBe(false);
    });
  });

  describe('INT 16h', () => {
    const keys = (count: number, ah = 0): BiosRequest[] => Array.from({ length: count }, () => ({ vector: 0x16, eax: ah << 8 }));

    it('reads what is typed on the serial line, function keys and Alt too', async () => {
      const { answers } = await call([...keys(7), ...keys(2, 0x10)], {}, (machine, serial) => {
        machine.clock.timer(() => serial.sink.receive(new TextEncoder().encode('aB\r\x7f\x1b[A\x1b[15~\x1bx\x1b[B\x1b[24~'))).arm(300e6);
      });
      expect(answers.map(answer => answer.ax.toString(16))).toEqual(['1e61', '3042', '1c0d', 'e08', '4800', '3f00', '2d00', '50e0', '8600']);
    });

    it('knows Escape from the start of a sequence by the time that passes', async () => {
      const { answers, exit } = await call(keys(2), {}, (machine, serial) => {
        machine.clock.timer(() => serial.sink.receive(Uint8Array.of(0x1b))).arm(300e6);
        machine.clock.timer(() => serial.sink.receive(Uint8Array.of(0x1b))).arm(400e6);
        machine.clock.timer(() => serial.sink.receive(Uint8Array.of(0x5b, 0x44))).arm(405e6);
      });
      expect(answers.map(answer => answer.ax)).toEqual([0x011b, 0x4b00]);
      expect(exit.timeNs).toBeLessThan(460e6);
    });

    it('reads the PS/2 keyboard with its shift keys', async () => {
      const codes = [0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12, 0x14, 0x21, 0xf0, 0x21, 0xf0, 0x14, 0xe0, 0x75, 0xe0, 0xf0, 0x75];
      const { answers } = await call([...keys(3), { vector: 0x16, eax: 0x0200 }, { vector: 0x16, eax: 0x0100 }], {}, machine => {
        // The keyboard's buffer holds 16 bytes: one key after the other.
        [codes.slice(0, 6), codes.slice(6, 12), codes.slice(12)].forEach((key, n) => machine.clock.timer(() => machine.sendScancodes(key)).arm(300e6 + n * 50e6));
      });
      expect(answers.slice(0, 3).map(answer => answer.ax)).toEqual([0x1e41, 0x2e03, 0x4800]);
      expect(answers[3].al).toBe(0);
      expect(answers[4].zero).toBe(true);
    });

    it('looks without taking, stores codes, tells when the buffer is full', async () => {
      const { answers } = await call([
        { vector: 0x16, eax: 0x0100 },
        ...Array.from({ length: 16 }, (_, n) => ({ vector: 0x16, eax: 0x0500, ecx: 0x1e00 + n })),
        { vector: 0x16, eax: 0x0100 },
        { vector: 0x16, eax: 0x1100 },
        ...keys(1),
        { vector: 0x16, eax: 0x1100 },
      ]);
      expect(answers[0].zero).toBe(true);
      expect(answers.slice(1, 17).map(answer => answer.al)).toEqual([...new Array(15).fill(0), 1]);
      expect(answers.slice(17).map(answer => [answer.ax, answer.zero])).toEqual([[0x1e00, false], [0x1e00, false], [0x1e00, answers[19].zero], [0x1e01, false]]);
    });
  });

  describe('INT 1Ah', () => {
    it('counts ticks and sets them', async () => {
      const { answers, exit } = await call([{ vector: 0x1a, eax: 0x0100, ecx: 0x18, edx: 0x00ae }, { vector: 0x15, eax: 0x8600, ecx: 5 }, { vector: 0x1a }, { vector: 0x1a }]);
      // Past midnight, told once.
      expect(answers[2].al).toBe(1);
      expect(answers[2].cx).toBe(0);
      expect(answers[2].dx).toBeLessThan(8);
      expect(answers[3].al).toBe(0);
      expect(exit.timeNs).toBeGreaterThan(327e6);
    });

    it('reads and sets the clock', async () => {
      const { answers } = await call(
        [{ vector: 0x1a, eax: 0x0200 }, { vector: 0x1a, eax: 0x0400 }, { vector: 0x1a, eax: 0x0500, ecx: 0x1999, edx: 0x1231 }, { vector: 0x1a, eax: 0x0300, ecx: 0x2359, edx: 0x5800 }, { vector: 0x1a, eax: 0x0400 }, { vector: 0x1a, eax: 0x0200 }, { vector: 0x1a, eax: 0x7700 }],
        { epochSeconds: Date.UTC(2024, 1, 29, 13, 14, 15) / 1000 },
      );
      expect(answers[0]).toMatchObject({ cx: 0x1314, dx: 0x1500, carry: false });
      expect(answers[1]).toMatchObject({ cx: 0x2024, dx: 0x0229, carry: false });
      expect(answers[4]).toMatchObject({ cx: 0x1999, dx: 0x1231 });
      expect(answers[5]).toMatchObject({ cx: 0x2359, dx: 0x5800 });
      expect(answers[6].carry).toBe(true);
    });

    it('finds and reads PCI functions', async () => {
      const { answers } = await call([
        { vector: 0x1a, eax: 0xb101 },
        { vector: 0x1a, eax: 0xb102, ecx: 0x7000, edx: 0x8086 },
        { vector: 0x1a, eax: 0xb103, ecx: 0x06_0000 },
        { vector: 0x1a, eax: 0xb10a, ebx: 0x0000, edi: 0 },
        { vector: 0x1a, eax: 0xb109, ebx: 0x0008, edi: 3 },
        { vector: 0x1a, eax: 0xb102, ecx: 0x1234, edx: 0x5678 },
        { vector: 0x1a, eax: 0xb10b, ebx: 0x0000, edi: 0x0d, ecx: 0x40 },
        { vector: 0x1a, eax: 0xb108, ebx: 0x0000, edi: 0x0d },
        { vector: 0x1a, eax: 0xb10e },
      ]);
      expect(answers[0]).toMatchObject({ edx: 0x2049_4350, ah: 0, al: 1, bx: 0x0210, carry: false });
      expect(answers[1]).toMatchObject({ bx: 8, ah: 0 });
      expect(answers[2]).toMatchObject({ bx: 0, ah: 0 });
      expect(answers[3]).toMatchObject({ ecx: 0x1237_8086, ah: 0 });
      expect(answers[4]).toMatchObject({ ah: 0x87, carry: true });
      expect(answers[5]).toMatchObject({ ah: 0x86, carry: true });
      expect([answers[6].ah, answers[7].cx & 0xff]).toEqual([0, 0x40]);
      expect(answers[8]).toMatchObject({ ah: 0x81, carry: true });
    });
  });
});
