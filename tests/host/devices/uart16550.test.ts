import { beforeEach, describe, expect, it } from 'vitest';
import type { CharBackend, CharSink } from '../../../src/host/backends/backend.js';
import { ManualClock } from '../../../src/host/clock.js';
import { Uart16550 } from '../../../src/host/devices/uart16550.js';
import { deviceContract } from '../../support/device-contract.js';

/** A backend with a queue of input, as a terminal has one. */
class Terminal implements CharBackend {
  readonly output: number[] = [];
  readonly input: number[] = [];
  #sink: CharSink | undefined;

  write(data: Uint8Array): void {
    this.output.push(...data);
  }

  attach(sink: CharSink): void {
    this.#sink = sink;
  }

  onSpace(): void {
    if (this.input.length === 0) return;
    this.input.splice(0, this.#sink!.receive(Uint8Array.from(this.input)));
  }

  type(text: string): void {
    this.input.push(...Buffer.from(text));
    this.onSpace();
  }
}

deviceContract('uart16550', () => {
  const clock = new ManualClock();
  const backend = new Terminal();
  const device = new Uart16550({ clock, backend });
  return {
    device,
    clock,
    poke: random => {
      if (random.below(10) === 0) device.receiveBreak();
      else device.receive(Uint8Array.from({ length: random.below(40) }, () => random.below(256)));
    },
  };
});

describe('uart16550', () => {
  const [THR, IER, FCR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7];
  let clock: ManualClock;
  let terminal: Terminal;
  let uart: Uart16550;
  let irq: boolean;
  let rises: number;
  const get = (register: number): number => uart.read(register, 1);
  const put = (register: number, value: number): void => uart.write(register, value, 1);
  const readAll = (): string => {
    let text = '';
    while ((get(LSR) & 1) !== 0) text += String.fromCharCode(get(0));
    return text;
  };

  beforeEach(() => {
    clock = new ManualClock();
    terminal = new Terminal();
    irq = false;
    rises = 0;
    uart = new Uart16550({
      clock,
      backend: terminal,
      irq: {
        set: level => {
          if (level && !irq) rises++;
          irq = level;
        },
      },
    });
  });

  it('is found as a 16550A by the probe that Linux makes', () => {
    put(IER, 0);
    expect(get(IER)).toBe(0);
    put(IER, 0x0f);
    expect(get(IER)).toBe(0x0f);
    put(IER, 0xff);
    expect(get(IER)).toBe(0x0f);
    put(IER, 0);
    put(MCR, 0x1a);
    expect(get(MSR) & 0xf0).toBe(0x90);
    put(MCR, 0);
    put(LCR, 0xbf);
    put(FCR, 0);
    put(LCR, 0);
    put(FCR, 1);
    expect(get(FCR) >> 6).toBe(3);
    put(LCR, 0x80);
    expect(get(FCR)).not.toBe(0);
    put(LCR, 0);
    put(MCR, 0xff);
    expect(get(MCR)).toBe(0x1f);
    put(SCR, 0x5a);
    expect(get(SCR)).toBe(0x5a);
  });

  it('has 16 bytes of FIFO by the count that Linux makes in the loop', () => {
    put(FCR, 7);
    put(MCR, 0x10);
    for (let i = 0; i < 256; i++) put(THR, i);
    let count = 0;
    expect(get(LSR) & 0x02).toBe(0x02);
    while ((get(LSR) & 1) !== 0) {
      expect(get(0)).toBe(count);
      count++;
    }
    expect(count).toBe(16);
    expect(terminal.output).toEqual([]);
  });

  it('passes the transmitter interrupt test of Linux', () => {
    put(IER, 2);
    expect(get(FCR) & 0x0f).toBe(2);
    put(IER, 0);
    put(IER, 2);
    expect(get(FCR) & 0x0f).toBe(2);
    expect(get(FCR) & 0x0f).toBe(1);
    expect(get(LSR) & 0x60).toBe(0x60);
  });

  it('drives a transmission by interrupts, with an edge for each', () => {
    const text = 'hello, world: more than sixteen bytes of it';
    let sent = 0;
    put(FCR, 0xc1);
    put(MCR, 0x0b);
    put(IER, 2);
    while (irq) {
      expect(get(FCR)).toBe(0xc2);
      expect(irq).toBe(false);
      const before = rises;
      for (let i = 0; i < 16 && sent < text.length; i++) put(THR, text.charCodeAt(sent++));
      expect(rises).toBeGreaterThan(before);
      if (sent === text.length) put(IER, 0);
    }
    expect(Buffer.from(terminal.output).toString()).toBe(text);
    expect(irq).toBe(false);
    put(THR, 0x21);
    expect(irq).toBe(false);
  });

  it('interrupts at the trigger level, and after four silent characters below it', () => {
    put(LCR, 0x80);
    put(THR, 1);
    put(IER, 0);
    put(LCR, 0x03);
    put(FCR, 0x81);
    put(IER, 1);
    terminal.type('1234567');
    expect(irq).toBe(false);
    terminal.type('8');
    expect(get(FCR)).toBe(0xc4);
    expect(readAll()).toBe('12345678');
    expect(irq).toBe(false);
    terminal.type('abc');
    clock.advance(347_000);
    expect(irq).toBe(false);
    clock.advance(300);
    expect(get(FCR)).toBe(0xcc);
    expect(get(0)).toBe(0x61);
    expect(irq).toBe(false);
    clock.advance(350_000);
    expect(irq).toBe(true);
    expect(readAll()).toBe('bc');
    clock.advance(10 ** 9);
    expect(irq).toBe(false);
  });

  it('interrupts for each character without FIFOs', () => {
    put(IER, 1);
    terminal.type('xy');
    expect(get(FCR)).toBe(0x04);
    expect(get(0)).toBe(0x78);
    expect(irq).toBe(true);
    expect(get(0)).toBe(0x79);
    expect(irq).toBe(false);
  });

  it('takes only what fits and asks for the rest when it was emptied', () => {
    put(FCR, 1);
    const text = 'The quick brown fox jumps over the lazy dog';
    terminal.type(text);
    expect(terminal.input.length).toBe(text.length - 16);
    expect(uart.receive(Uint8Array.of(1))).toBe(0);
    expect(readAll()).toBe(text);
    expect(get(LSR) & 0x02).toBe(0);
  });

  it('keeps what the host has not sent yet when the guest clears its FIFO', () => {
    put(FCR, 1);
    terminal.type('0123456789abcdefrest');
    put(FCR, 7);
    expect(get(LSR) & 1).toBe(0);
    clock.advance(2_000_000);
    expect(readAll()).toBe('rest');
  });

  it('orders its interrupts: line status, data, transmitter, modem', () => {
    put(FCR, 1);
    put(MCR, 0x10);
    put(IER, 0x0f);
    uart.write(MCR, 0x00, 1);
    uart.receiveBreak();
    put(THR, 0x41);
    expect(get(FCR)).toBe(0xc6);
    expect(get(LSR)).toBe(0xf1);
    expect(get(FCR)).toBe(0xc4);
    expect(get(LSR)).toBe(0x61);
    expect(get(0)).toBe(0);
    expect(get(FCR)).toBe(0xc2);
    expect(get(FCR)).toBe(0xc0);
    expect(get(MSR)).toBe(0xbb);
    expect(get(FCR)).toBe(0xc1);
    expect(get(MSR)).toBe(0xb0);
  });

  it('loops the modem lines back, with the trailing edge of ring', () => {
    put(MCR, 0x14);
    get(MSR);
    expect(get(MSR)).toBe(0x40);
    put(MCR, 0x10);
    expect(get(MSR)).toBe(0x04);
    put(MCR, 0x13);
    expect(get(MSR)).toBe(0x33);
    expect(uart.receive(Uint8Array.of(1))).toBe(0);
  });

  it('keeps the divisor behind DLAB', () => {
    put(LCR, 0x80);
    put(0, 0x34);
    put(1, 0x12);
    expect(get(0)).toBe(0x34);
    expect(get(1)).toBe(0x12);
    expect(uart.read(0, 2)).toBe(0x1234);
    put(LCR, 0);
    put(THR, 0xc1);
    expect(terminal.output).toEqual([0xc1]);
  });

  it('keeps its input and its line across a restore', () => {
    put(FCR, 1);
    put(IER, 1);
    terminal.type('ab');
    const state = uart.save();
    readAll();
    expect(irq).toBe(false);
    uart.restore(state);
    expect(irq).toBe(true);
    expect(readAll()).toBe('ab');
  });
});
