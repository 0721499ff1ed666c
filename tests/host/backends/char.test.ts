import { PassThrough, Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { CharSink } from '../../../src/host/backends/backend.js';
import { BufferedChar, StreamChar, TeeChar } from '../../../src/host/backends/char.js';

/** A device end that takes `room` bytes and then no more. */
class Sink implements CharSink {
  room: number;
  readonly got: number[] = [];
  readonly opens: boolean[] = [];
  readonly sizes: number[][] = [];

  constructor(room = Infinity) {
    this.room = room;
  }

  get text(): string {
    return String.fromCharCode(...this.got);
  }

  receive(data: Uint8Array): number {
    const taken = Math.min(this.room, data.length);
    this.got.push(...data.subarray(0, taken));
    this.room -= taken;
    return taken;
  }

  hostOpen(open: boolean): void {
    this.opens.push(open);
  }

  resize(columns: number, rows: number): void {
    this.sizes.push([columns, rows]);
  }
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
/** Lets streams deliver what was written to them. */
const settle = () => new Promise<void>(resolve => setImmediate(resolve));

describe('BufferedChar', () => {
  it('collects output and copies it', () => {
    const char = new BufferedChar();
    const seen: string[] = [];
    char.onData = data => seen.push(new TextDecoder().decode(data));
    const piece = bytes('one ');
    char.write(piece);
    piece.fill(0);
    char.write(bytes('zwölf'));
    expect(char.text).toBe('one zwölf');
    expect(seen).toEqual(['one ', 'zwölf']);
    char.clear();
    expect(char.output.length).toBe(0);
  });

  it('bounds its output', () => {
    const char = new BufferedChar(10);
    for (let i = 0; i < 100; i++) char.write(bytes(String(i).padStart(4, '0')));
    expect(char.text).toBe('00980099');
  });

  it('queues input until the device has room', () => {
    const char = new BufferedChar();
    char.send('abc');
    const sink = new Sink(2);
    char.attach(sink);
    char.send('def');
    expect([sink.text, char.pending]).toEqual(['ab', 4]);
    sink.room = 3;
    char.onSpace();
    expect([sink.text, char.pending]).toEqual(['abcde', 1]);
    sink.room = 9;
    char.onSpace();
    expect([sink.text, char.pending]).toEqual(['abcdef', 0]);
  });

  it('survives a device that reports space while it takes', () => {
    const char = new BufferedChar();
    const sink = new Sink();
    char.attach({
      receive: data => {
        char.onSpace();
        return sink.receive(data.subarray(0, 1));
      },
    });
    char.send('xyz');
    expect(sink.text).toBe('xyz');
  });

  it('passes open and size on', () => {
    const char = new BufferedChar();
    const sink = new Sink();
    char.attach(sink);
    char.setOpen(false);
    char.resize(80, 24);
    char.guestOpen(true);
    expect([sink.opens, sink.sizes, char.guestIsOpen]).toEqual([[false], [[80, 24]], true]);
  });
});

describe('StreamChar', () => {
  it('joins a device to streams and tells the end of input', async () => {
    const input = new PassThrough();
    const output = new PassThrough();
    let ended = 0;
    const char = new StreamChar({ input, output, onEnd: () => ended++ });
    const sink = new Sink(3);
    char.attach(sink);
    input.end('hello');
    await settle();
    expect([sink.text, char.pending, ended]).toEqual(['hel', 2, 0]);
    sink.room = 10;
    char.onSpace();
    await settle();
    expect([sink.text, ended]).toEqual(['hello', 1]);
    const piece = bytes('out');
    char.write(piece);
    piece.fill(0);
    expect(String(output.read())).toBe('out');
  });

  it('pauses a source that is faster than the guest, and loses nothing', async () => {
    const input = new PassThrough();
    const char = new StreamChar({ input });
    const sink = new Sink(0);
    char.attach(sink);
    const total = 300_000;
    const data = Uint8Array.from({ length: total }, (_, i) => (i * 7) & 0xff);
    for (let at = 0; at < total; at += 10_000) input.write(data.subarray(at, at + 10_000));
    await settle();
    expect(input.isPaused()).toBe(true);
    expect(char.pending).toBeLessThan(100_000);
    for (let i = 0; i < 1000 && sink.got.length < total; i++) {
      sink.room = 10_000;
      char.onSpace();
      await settle();
    }
    expect(Buffer.from(sink.got).equals(Buffer.from(data))).toBe(true);
  });

  it('tells when a slow reader has caught up', async () => {
    const releases: (() => void)[] = [];
    const output = new Writable({ highWaterMark: 4, write: (_chunk, _encoding, done) => void releases.push(done) });
    const char = new StreamChar({ output });
    await char.drained();
    char.write(bytes('longer than the mark'));
    expect(char.congested).toBe(true);
    const drained = char.drained();
    releases[0]();
    await drained;
    expect(char.congested).toBe(false);
  });

  it('reports a broken pipe once and goes on', async () => {
    const output = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => done(Object.assign(new Error('EPIPE'), { code: 'EPIPE' })) });
    const errors: string[] = [];
    const char = new StreamChar({ output, onError: error => errors.push(error.message) });
    char.write(bytes('x'));
    await char.drained();
    await settle();
    char.write(bytes('y'));
    expect(errors).toEqual(['EPIPE']);
    expect(char.congested).toBe(false);
  });

  it('lets go of its streams', () => {
    const input = new PassThrough();
    const output = new PassThrough();
    const char = new StreamChar({ input, output });
    char.detach();
    expect([input.listenerCount('data'), input.isPaused()]).toEqual([0, true]);
    char.write(bytes('x'));
    expect(output.read()).toBeNull();
    expect(() => output.emit('error', new Error('late'))).not.toThrow();
  });
});

describe('TeeChar', () => {
  it('shows output to all, takes input from any and is open while one is', () => {
    const [a, b] = [new BufferedChar(), new BufferedChar()];
    const tee = new TeeChar(a, b);
    const sink = new Sink(3);
    tee.attach(sink);
    tee.write(bytes('hi'));
    expect([a.text, b.text]).toEqual(['hi', 'hi']);
    a.send('12');
    b.send('34');
    expect(sink.text).toBe('123');
    sink.room = 5;
    tee.onSpace();
    expect(sink.text).toBe('1234');
    a.setOpen(false);
    b.setOpen(false);
    b.setOpen(true);
    expect(sink.opens).toEqual([true, false, true]);
    tee.guestOpen(true);
    expect([a.guestIsOpen, b.guestIsOpen]).toEqual([true, true]);
  });
});
