import { describe, expect, it } from 'vitest';
import { VmletError } from '../../src/errors.js';
import { Machine, type MachineExit } from '../../src/host/machine.js';
import {
  CLI, coreModule, EOI, FOREVER, hasCore, HLT, in8, IRET, ManualWall, out16, out8, pics, pit, POWER_OFF, print, romMachine, romOf, spin, STI, TextChar,
} from './machine-support.js';

const HZ = 1_193_182;
const ticksNs = (ticks: number) => Math.ceil((ticks * 1e9) / HZ);

const run = (...args: Parameters<typeof romMachine>): Promise<MachineExit> => romMachine(...args).run();

describe.skipIf(!hasCore)('machine (needs dist/core.wasm: npm run build:core)', () => {
  describe('ends', () => {
    it('by ACPI power-off', async () => {
      expect(await run(POWER_OFF)).toMatchObject({ reason: 'poweroff' });
    });

    it('by debug exit with the code of isa-debug-exit, at that very instruction', async () => {
      const machine = romMachine([...out8(0xf4, 0x21), ...print('no'), ...FOREVER], { debugExitPort: 0xf4 });
      expect(await machine.run()).toMatchObject({ reason: 'debug-exit', code: 0x43 });
      expect(machine.registers().rip).toBe(BigInt(9 + 6));
    });

    it.each([
      ['reset-control', [...out8(0xcf9, 2), ...out8(0xcf9, 6)]],
      ['keyboard-controller', out8(0x64, 0xfe)],
      ['port-92', out8(0x92, 3)],
      // lidt of an empty table, then ud2.
      ['triple-fault', [0x0f, 0x01, 0x1e, 0x00, 0x50, 0x0f, 0x0b]],
    ])('by a reset: %s', async (cause, code) => {
      expect(await run([...code, ...FOREVER])).toMatchObject({ reason: 'reset', cause });
    });

    it('when it halts for good', async () => {
      expect(await run([...CLI, ...HLT])).toMatchObject({ reason: 'halted' });
    });

    it('when virtual time is up, to the instruction, whether it spins or sleeps', async () => {
      expect(await run(FOREVER, { timeoutNs: 1_234_567 })).toMatchObject({ reason: 'timeout', instructions: 1_234_567, timeNs: 1_234_567 });
      expect(await run([...STI, ...HLT, ...FOREVER], { timeoutNs: 3_600e9 })).toMatchObject({ reason: 'timeout', timeNs: 3_600e9 });
    });

    it('when the host says so', async () => {
      const machine = romMachine(FOREVER, { timeoutNs: Infinity });
      setImmediate(() => machine.stop());
      expect(await machine.run()).toMatchObject({ reason: 'stopped' });
      const idle = romMachine([...STI, ...HLT, ...FOREVER], { timeoutNs: Infinity });
      setImmediate(() => idle.stop());
      expect(await idle.run()).toMatchObject({ reason: 'stopped' });
    });

    it('by an AbortSignal, before or during the run', async () => {
      expect(await romMachine(FOREVER).run(AbortSignal.abort())).toMatchObject({ reason: 'stopped', instructions: 0 });
      const abort = new AbortController();
      setImmediate(() => abort.abort());
      expect(await romMachine(FOREVER, { timeoutNs: Infinity }).run(abort.signal)).toMatchObject({ reason: 'stopped' });
    });

    it('by an error of the host, which is passed on', async () => {
      const broken = { attach: () => {}, write: () => { throw new RangeError('disk full'); } };
      const exit = await run(print('x'), { serial: [broken] });
      expect(exit).toMatchObject({ reason: 'host-error' });
      expect(exit.error).toBeInstanceOf(RangeError);
    });
  });

  it('starts over after a reset when told to', async () => {
    const serial = new TextChar();
    // The first boot leaves a mark in CMOS, which a reset keeps, and resets; the second finds it.
    const code = [...print('B'), ...out8(0x70, 0x60), ...in8(0x71), 0x3c, 0x5a, 0x74, 18, ...out8(0x70, 0x60), ...out8(0x71, 0x5a), ...out8(0x92, 1), ...POWER_OFF];
    expect(await run(code, { serial: [serial], rebootAction: 'reset' })).toMatchObject({ reason: 'poweroff' });
    expect(serial.text).toBe('BB');
  });

  it('shadows the ROM below 1 MB and keeps it from being written', async () => {
    // mov byte [es:0], 0xaa on F000; read it back to port 0xf4.
    const code = [0xb8, 0x00, 0xf0, 0x8e, 0xc0, 0x26, 0xc6, 0x06, 0x00, 0x20, 0xaa, 0x26, 0xa0, 0x00, 0x20, 0xba, 0xf4, 0x00, 0xee];
    expect(await run(code, { debugExitPort: 0xf4 })).toMatchObject({ code: (0x90 << 1) | 1 });
  });

  it('executes ROM images of any size from the reset vector', async () => {
    const image = Uint8Array.of(0xb0, 0x05, 0xe6, 0xf4, 0xeb, 0xfe, ...new Array<number>(10).fill(0xf4));
    for (const size of [16, 100, 4096, 5000, 0x2_0000, 0x2_0100, 16 * 2 ** 20]) {
      const rom = new Uint8Array(size).fill(0xcc);
      rom.set(image, size - 16);
      const machine = new Machine({ core: coreModule(), memoryBytes: 2 ** 20, debugExitPort: 0xf4, boot: { kind: 'rom', image: rom } });
      expect([size, (await machine.run()).code]).toEqual([size, 11]);
    }
  });

  describe('time', () => {
    const sleepers = { 0x20: [...EOI, ...IRET] };

    it('warps from one timer to the next', async () => {
      const exit = await run([...pics(0), ...pit(2, 59659), ...STI, ...HLT, ...HLT, ...HLT, ...POWER_OFF], {}, sleepers);
      expect(exit.reason).toBe('poweroff');
      expect(exit.instructions).toBeLessThan(200);
      expect(exit.timeNs).toBeGreaterThan(ticksNs(3 * 59659));
      expect(exit.timeNs).toBeLessThan(ticksNs(3 * 59659) + 10_000);
    });

    it('takes the time stamp counter along', async () => {
      // rdtsc; store the counter's low word after the sleep.
      const code = [...pics(0), ...pit(0, 50000), ...STI, ...HLT, ...CLI, 0x0f, 0x31, 0x66, 0xa3, 0x00, 0x60, ...POWER_OFF];
      const machine = romMachine(code, {}, sleepers);
      const exit = await machine.run();
      const tsc = new DataView(machine.core.ram.buffer, machine.core.ram.byteOffset).getUint32(0x6000, true);
      expect(exit.timeNs - tsc).toBeGreaterThan(0);
      expect(exit.timeNs - tsc).toBeLessThan(50);
    });

    it('sleeps in real time, and moves virtual time up to the wall clock', async () => {
      const wall = new ManualWall();
      wall.onSleep = ms => { wall.ms += ms + 5; };
      const exit = await run([...pics(0), ...pit(0, 59659), ...STI, ...HLT, ...POWER_OFF], { time: 'realtime', wall }, sleepers);
      expect(exit.reason).toBe('poweroff');
      expect(wall.sleeps).toHaveLength(1);
      expect(wall.sleeps[0]).toBeCloseTo(50, 0);
      expect(exit.timeNs / 1e6).toBeCloseTo(55, 0);
    });

    it('sleeps while held, even in warp', async () => {
      const wall = new ManualWall();
      const machine = romMachine([...pics(0), ...pit(2, 59659), ...STI, ...HLT, ...HLT, ...HLT, ...POWER_OFF], { wall }, sleepers);
      const release = machine.hold();
      wall.onSleep = () => release();
      expect((await machine.run()).reason).toBe('poweroff');
      expect(wall.sleeps).toHaveLength(1);
    });

    it('waits for input when nothing is armed, and wakes by an interrupt', async () => {
      const serial = new TextChar();
      const wall = new ManualWall();
      wall.onSleep = () => serial.sink.receive(Uint8Array.of(0x41));
      // Enable the receive interrupt; the handler echoes and powers off.
      const handler = [...in8(0x3f8), 0xee, ...POWER_OFF];
      const exit = await run([...pics(4), ...out8(0x3f9, 1), ...STI, ...HLT, ...FOREVER], { serial: [serial], wall, timeoutNs: Infinity }, { 0x24: handler });
      expect(exit.reason).toBe('poweroff');
      expect(serial.text).toBe('A');
      expect(wall.sleeps[0]).toBe(Infinity);
    });

    it('lets the event loop have its turns', async () => {
      const wall = new ManualWall();
      let slices = 0;
      wall.now = () => (wall.ms += ++slices % 2);
      await run(FOREVER, { wall, timeoutNs: 20_000_000 });
      expect(wall.turns).toBeGreaterThan(3);
    });

    it('stands still while paused', async () => {
      const wall = new ManualWall();
      const machine = romMachine(FOREVER, { wall, timeoutNs: 50e6 });
      const running = machine.run();
      await machine.pause();
      const { instructions } = machine;
      await new Promise(resolve => setImmediate(resolve));
      expect(machine.instructions).toBe(instructions);
      machine.resume();
      expect((await running).reason).toBe('timeout');
    });

    it('can be stopped while paused, and paused while it sleeps', async () => {
      const machine = romMachine([...STI, ...HLT, ...FOREVER], { timeoutNs: Infinity });
      const running = machine.run();
      await machine.pause();
      machine.stop();
      expect((await running).reason).toBe('stopped');
      await machine.pause();
    });
  });

  describe('is repeatable', () => {
    const program = [...pics(0), ...pit(2, 1000), ...STI, ...print('hello'), 0x0f, 0xc7, 0xf0, 0xa3, 0x00, 0x60, ...spin(5000), ...HLT, ...spin(100), ...HLT, ...CLI, ...POWER_OFF];
    const once = async (seed: number | bigint) => {
      const serial = new TextChar();
      const machine = romMachine(program, { serial: [serial], seed, rng: true }, { 0x20: [...EOI, ...IRET] });
      const exit = await machine.run();
      return { text: serial.text, instructions: exit.instructions, timeNs: exit.timeNs, hash: machine.stateHash() };
    };

    it('to the last bit, by options and seed', async () => {
      const first = await once(7);
      expect(await once(7)).toEqual(first);
      expect(await once(7n)).toEqual(first);
      expect(first.hash).toMatch(/^[0-9a-f]{64}$/);
      expect((await once(8)).hash).not.toBe(first.hash);
    });

    it('when the host answers output by requestYield', async () => {
      const answer = async () => {
        const serial = new TextChar();
        // Print '>', wait for a byte by polling, echo it with the count of polls.
        const poll = [...in8(0x3fd), 0x41 + 6, 0xa8, 1, 0x74, 0xf7];
        const machine = romMachine([0x31, 0xff, ...print('>'), ...poll, ...in8(0x3f8), 0xee, 0x89, 0x3e, 0x00, 0x60, ...POWER_OFF], { serial: [serial] });
        serial.onText = text => {
          if (text !== '>') return;
          machine.requestYield();
          setImmediate(() => serial.sink.receive(Uint8Array.of(0x21)));
        };
        const exit = await machine.run();
        return { text: serial.text, instructions: exit.instructions };
      };
      const first = await answer();
      expect(first.text).toBe('>!');
      expect(await answer()).toEqual(first);
    });
  });

  it('tells an ACPI guest of the power button', async () => {
    const wall = new ManualWall();
    const code = [...pics(2), ...out8(0xa1, 0xfd), ...out16(0x602, 0x100), ...STI, ...HLT, ...FOREVER];
    const machine = romMachine(code, { wall, timeoutNs: Infinity }, { 0x29: POWER_OFF });
    wall.onSleep = () => machine.powerButton();
    expect(await machine.run()).toMatchObject({ reason: 'poweroff' });
  });

  it('refuses impossible machines', () => {
    const make = (options: object) => () => new Machine({ core: coreModule(), memoryBytes: 2 ** 20, boot: { kind: 'rom', image: romOf([]) }, ...options });
    for (const memoryBytes of [0, 4096, 2 ** 20 + 1, 3 * 2 ** 30 + 4096, NaN]) expect(make({ memoryBytes })).toThrow(VmletError);
    expect(make({ cpus: 2 })).toThrow(/runs one/);
    expect(make({ boot: { kind: 'rom', image: new Uint8Array(3) } })).toThrow(/ROM/);
  });

  it('runs once', async () => {
    const machine = romMachine(FOREVER, { timeoutNs: 1e6 });
    const running = machine.run();
    await expect(machine.run()).rejects.toThrow(/running already/);
    await running;
  });

  describe('delay loops', () => {
    /** Waits until bit `bit` of the time stamp counter is set, then powers off: rdtsc; test eax, 1 << bit; pause; jz. */
    const delay = (bit: number): number[] => [0x66, 0x0f, 0x31, 0x66, 0xa9, ...[0, 8, 16, 24].map(at => ((1 << bit) >>> at) & 0xff), 0xf3, 0x90, 0x74, 0xf3, ...POWER_OFF];

    it('let time pass without so many turns, and end late by a quarter at most', async () => {
      const exit = await run(delay(28));
      expect(exit.reason).toBe('poweroff');
      expect(exit.timeNs).toBeGreaterThanOrEqual(2 ** 28);
      expect(exit.timeNs).toBeLessThan(1.25 * 2 ** 28);
      expect(exit.instructions).toBeLessThan(200_000);
    });

    it('are interrupted on time', async () => {
      const at = (wait: number[]) => run([...pics(0), ...pit(0, 30_000), ...STI, ...wait], {}, { 0x20: POWER_OFF });
      const idle = await at([...HLT, ...FOREVER]);
      const busy = await at(delay(28));
      expect(busy.timeNs - idle.timeNs).toBeGreaterThanOrEqual(-10);
      expect(busy.timeNs - idle.timeNs).toBeLessThan(100);
      expect(busy.instructions).toBeLessThan(30_000);
    });

    it('take their time in real time', async () => {
      const exit = await run(delay(16), { time: 'realtime', wall: new ManualWall() });
      expect(exit.instructions).toBeGreaterThanOrEqual(2 ** 16);
    });

    it('end at the timeout', async () => {
      expect(await run(delay(31), { timeoutNs: 7_654_321 })).toMatchObject({ reason: 'timeout', timeNs: 7_654_321 });
    });
  });

  it('takes a microsecond for a read of the timer or of port 61h', async () => {
    const reads = (code: number[]) => run([...Array.from({ length: 20 }, () => code).flat(), ...POWER_OFF]);
    for (const port of [0x40, 0x61, 0x608]) {
      const exit = await reads(in8(port));
      expect(exit.timeNs - exit.instructions, `port ${port.toString(16)}`).toBe(20_000);
    }
    expect((await reads(in8(0x64))).timeNs).toBeLessThan(200);
  });
});
