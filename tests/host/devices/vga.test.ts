import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/host/clock.js';
import { screenText, Vga, VGA_PORT } from '../../../src/host/devices/vga.js';
import { deviceContract } from '../../support/device-contract.js';

const make = () => {
  const clock = new ManualClock();
  const vga = new Vga({ clock });
  const out = (port: number, value: number) => vga.write(port - VGA_PORT, value, 1, 0);
  const inp = (port: number) => vga.read(port - VGA_PORT, 1, 0);
  const crtc = (index: number, value: number) => {
    out(0x3d4, index);
    out(0x3d5, value);
  };
  const show = (text: string, at = 0) => [...text].forEach((char, n) => vga.write(0x1_8000 + at + 2 * n, 0x0700 | char.charCodeAt(0), 2, 1));
  return { clock, vga, out, inp, crtc, show };
};

deviceContract('vga', () => {
  const clock = new ManualClock();
  return { device: new Vga({ clock }), clock };
});

describe('VGA text screen', () => {
  it('is 80 by 25, empty, with a cursor at the top', () => {
    const { vga } = make();
    expect(vga.screen).toMatchObject({ columns: 80, rows: 25, cursor: { row: 0, column: 0 } });
    expect(screenText(vga.screen!)).toBe('\n'.repeat(24));
  });

  it('shows what is written to B8000, in the characters of code page 437', () => {
    const { vga, show } = make();
    show('Hello');
    show('\xc9\xcd\xbb', 160);
    expect(screenText(vga.screen!).split('\n').slice(0, 2)).toEqual(['Hello', '╔═╗']);
  });

  it('starts where the start address says and wraps at 32 KB', () => {
    const { vga, crtc, show } = make();
    show('second page', 0x1000);
    crtc(0x0c, 0x08);
    crtc(0x0d, 0x00);
    expect(screenText(vga.screen!).split('\n')[0]).toBe('second page');
    show('end', 0x7ffa);
    crtc(0x0c, 0x3f);
    crtc(0x0d, 0xfd);
    show('wrapped', 0);
    expect(screenText(vga.screen!).split('\n')[0]).toBe('endwrapped');
  });

  it('has a cursor that can be moved, hidden and be elsewhere', () => {
    const { vga, crtc } = make();
    crtc(0x0e, 0x01);
    crtc(0x0f, 0x40);
    expect(vga.screen!.cursor).toEqual({ row: 4, column: 0 });
    crtc(0x0a, 0x20);
    expect(vga.screen!.cursor).toBeUndefined();
    crtc(0x0a, 0x0d);
    crtc(0x0e, 0x20);
    expect(vga.screen!.cursor).toBeUndefined();
  });

  it('is of the size that the timing registers say', () => {
    const { vga, crtc } = make();
    crtc(0x09, 0x47);
    expect(vga.screen).toMatchObject({ columns: 80, rows: 50 });
    crtc(0x11, 0x0e);
    crtc(0x01, 39);
    crtc(0x13, 20);
    expect(vga.screen).toMatchObject({ columns: 40, rows: 50 });
  });

  it('is not there in graphics modes', () => {
    const { vga, out } = make();
    out(0x3ce, 6);
    out(0x3cf, 5);
    expect(vga.screen).toBeUndefined();
  });
});

describe('VGA registers', () => {
  it('protect the horizontal timing until CRTC 11h allows writes', () => {
    const { inp, crtc } = make();
    crtc(0x00, 0x12);
    expect(inp(0x3d5)).toBe(0x5f);
    crtc(0x11, 0x0e);
    crtc(0x00, 0x12);
    expect(inp(0x3d5)).toBe(0x12);
  });

  it('toggle between index and data at 3C0h, and a read of 3DAh starts with the index', () => {
    const { out, inp } = make();
    inp(0x3da);
    out(0x3c0, 0x10);
    out(0x3c0, 0x04);
    out(0x3c0, 0x30);
    inp(0x3da);
    out(0x3c0, 0x10);
    expect(inp(0x3c1)).toBe(0x04);
  });

  it('answer at 3Bxh in monochrome modes', () => {
    const { out, inp } = make();
    out(0x3c2, 0x66);
    out(0x3b4, 0x0f);
    out(0x3b5, 0x55);
    expect(inp(0x3b5)).toBe(0x55);
    expect(inp(0x3d5)).toBe(0xff);
  });

  it('have retraces as time passes', () => {
    const { clock, inp } = make();
    const seen = new Set<number>();
    for (let n = 0; n < 20_000; n++) {
      seen.add(inp(0x3da) & 9);
      clock.advance(1000);
    }
    expect([...seen].sort()).toEqual([0, 1, 9]);
  });

  it('hold the palette', () => {
    const { out, inp } = make();
    out(0x3c8, 7);
    for (const level of [1, 2, 3]) out(0x3c9, level);
    out(0x3c7, 7);
    expect([inp(0x3c9), inp(0x3c9), inp(0x3c9)]).toEqual([1, 2, 3]);
  });
});
