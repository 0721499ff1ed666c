// The way from guest code into host services and back: registers, flags, waits, far calls.
import { describe, expect, it } from 'vitest';
import type { Ready } from '../../../src/host/firmware/traps.js';
import { type BiosRequest, callBios, CALLER_DONE, canRunGuests } from './support.js';

const run = async (requests: readonly BiosRequest[], prepare: Parameters<typeof callBios>[2]) => {
  const result = await callBios(requests, {}, prepare);
  expect(result.exit).toMatchObject({ reason: 'debug-exit', code: CALLER_DONE });
  return result;
};

describe.skipIf(!canRunGuests)('firmware traps (needs gcc, binutils and dist/core.wasm)', () => {
  it('serve interrupts with the registers and flags of the caller', async () => {
    const seen: number[] = [];
    const { answers } = await run([{ vector: 0x60, eax: 0x1234_5678, ebx: 2, es: 0x2000, ds: 0x3000 }], machine => {
      const firmware = machine.firmware!;
      const offset = firmware.traps.interrupt(call => {
        seen.push(call.eax, call.selector('es'), call.linear('ds', 5));
        call.ah = 0x9a;
        call.ebx = 0xdead_beef;
        call.carry = true;
        call.zero = true;
      });
      firmware.setVector(0x60, offset);
    });
    expect(seen).toEqual([0x1234_5678, 0x2000, 0x3_0005]);
    expect(answers[0]).toMatchObject({ eax: 0x1234_9a78, ebx: 0xdead_beef, carry: true, zero: true, es: 0x2000, ds: 0x3000 });
  });

  it('let time pass and interrupts run while a service waits', async () => {
    let ticks = 0;
    let waitedNs = 0;
    const { answers } = await run([{ vector: 0x60, ecx: 7 }], machine => {
      const { traps } = machine.firmware!;
      function* wait(call: { ecx: number; eax: number }): Generator<Ready, void, void> {
        const start = machine.clock.now;
        const before = traps.memory.u32(0x46c);
        yield traps.until(start + 500e6);
        ticks = traps.memory.u32(0x46c) - before;
        waitedNs = machine.clock.now - start;
        call.eax = call.ecx + 1;
      }
      machine.firmware!.setVector(0x60, traps.interrupt(wait));
    });
    expect(answers[0].eax).toBe(8);
    expect(ticks).toBeGreaterThanOrEqual(9);
    expect(waitedNs).toBeGreaterThanOrEqual(500e6);
    expect(waitedNs).toBeLessThan(501e6);
  });

  it('go on when something comes from outside, without an interrupt', async () => {
    const { answers } = await run([{ vector: 0x60 }], machine => {
      const { traps } = machine.firmware!;
      let come = false;
      // 300 ms on, in the midst of a tick.
      machine.clock.timer(() => { come = true; }).arm(300e6);
      machine.firmware!.setVector(0x60, traps.interrupt(function* (call) {
        while (!come) yield () => come;
        call.eax = Math.floor(machine.clock.now / 1e6);
      }));
    });
    expect(answers[0].eax).toBe(300);
  });

  it('serve far calls with arguments on the stack, also across a wait', async () => {
    const { answers } = await run([{ vector: 0x60, eax: 5 }], machine => {
      const { traps } = machine.firmware!;
      const far = traps.far(function* (call) {
        const argument = call.memory.u16(call.stack(4));
        yield traps.until(machine.clock.now + 200e6);
        call.ebx = argument * 2 + call.eax;
        call.carry = true;
      });
      // push word 0x21; call far; sbb edx, edx; add sp, 2; iret
      const code = traps.place([0x68, 0x21, 0x00, 0x9a, far & 0xff, far >> 8, 0x00, 0xf0, 0x66, 0x19, 0xd2, 0x83, 0xc4, 0x02, 0xcf]);
      machine.firmware!.setVector(0x60, code);
    });
    expect(answers[0]).toMatchObject({ eax: 5, ebx: 0x47, edx: 0xffff_ffff });
  });

  it('report calls that nobody serves and go on', async () => {
    const { guestLog } = await run([{ vector: 0x60 }], machine => {
      // push 0x7777; out; add sp, 2; iret
      machine.firmware!.setVector(0x60, machine.firmware!.traps.place([0x68, 0x77, 0x77, 0xe6, 0xb8, 0x83, 0xc4, 0x02, 0xcf]));
    });
    expect(guestLog.join('\n')).toContain('a service that does not exist');
  });

  it('reserve conventional memory and tell the guest', async () => {
    let at = 0;
    const { answers, machine } = await run([{ vector: 0x12 }, { vector: 0x15, eax: 0xe820, ecx: 20, edx: 0x534d_4150, edi: 0x9000 }], ({ firmware }) => {
      at = firmware!.reserveLow(3000);
      firmware!.onPost(() => firmware!.memory.setU32(at, 0x600d_600d));
    });
    expect(at).toBe(0x9_f000);
    expect(answers[0].ax).toBe(0x9_f000 / 1024);
    const view = new DataView(machine.core.ram.buffer, machine.core.ram.byteOffset);
    expect(view.getUint32(at, true)).toBe(0x600d_600d);
    expect(view.getUint32(0x9008, true)).toBe(0x9_f000);
  });

  it('boot from a source of somebody else, which takes its time', async () => {
    const { serial } = await callBios([], { boot: { kind: 'firmware', order: ['net', 'floppy'] }, timeoutNs: 5e9 }, machine => {
      machine.firmware!.addBootSource({
        name: 'net',
        title: 'network',
        *boot() {
          yield machine.firmware!.traps.until(machine.clock.now + 3e9);
          return 'no server has answered';
        },
      });
    });
    expect(serial.text).toContain('Cannot boot from network: no server has answered.\r\nBooting from floppy...');
  });

  it('start over after a reset, with what waited forgotten', async () => {
    let starts = 0;
    const { serial, exit } = await callBios([], { boot: { kind: 'firmware', order: ['net', 'floppy'] }, rebootAction: 'reset' }, machine => {
      machine.firmware!.addBootSource({
        name: 'net',
        title: 'network',
        *boot() {
          if (++starts > 1) return 'once is enough';
          machine.board.bus.portWrite(0x64, 1, 0xfe);
          yield () => false;
          return 'never';
        },
      });
    });
    expect(exit).toMatchObject({ reason: 'debug-exit', code: CALLER_DONE });
    expect(starts).toBe(2);
    expect(serial.text).toContain('once is enough');
  });
});
