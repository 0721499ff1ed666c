import { describe, expect, it } from 'vitest';
import { isZero, Sha256 } from '../../src/host/backends/hash.js';
import { canonical, cpuState, hashState, type HashedState } from '../../src/host/state-hash.js';
import { fakeCpu } from './boot-support.js';

describe('canonical spelling', () => {
  it('does not depend on the order of keys, nor on how bytes are viewed', () => {
    expect(canonical({ b: [1, -0, 'x"'], a: Uint8Array.of(1, 255) })).toBe('{"a":<01ff>,"b":[1,0,"x\\""]}');
    expect(canonical({ b: undefined, a: 5n })).toBe(canonical({ a: 5n }));
    expect(canonical(Uint16Array.of(0x1234))).toBe('<3412>');
    expect(canonical(new Map([['z', 1], ['a', 2]]))).toBe(canonical(new Map([['a', 2], ['z', 1]])));
    expect(canonical([null, true, 1.5, Infinity])).toBe('[null,true,1.5,Infinity]');
  });
});

describe('state hash', () => {
  const state = (change: Partial<HashedState> = {}): HashedState => ({ instructions: 1, nowNs: 2, cpus: [fakeCpu()], ram: new Uint8Array(0x3_0000), devices: [['a', { x: 1 }]], ...change });
  const hash = (change?: Partial<HashedState>) => hashState(state(change), new Sha256());

  it('changes with every part of the state', () => {
    const ram = new Uint8Array(0x3_0000);
    ram[0x2_1fff] = 1;
    const moved = new Uint8Array(0x3_0000);
    moved[0x2_2fff] = 1;
    const cpu = fakeCpu();
    cpu.flags = 0x43;
    const hashes = [hash(), hash({ instructions: 2 }), hash({ nowNs: 3 }), hash({ ram }), hash({ ram: moved }), hash({ cpus: [cpu] }), hash({ devices: [['a', { x: 2 }]] }), hash({ ram: new Uint8Array(0x4_0000) })];
    expect(new Set(hashes).size).toBe(hashes.length);
    expect(hash()).toBe(hashes[0]);
  });

  it('sees flags, not how they are kept', () => {
    const cpu = fakeCpu();
    cpu.flags = 0x247;
    expect(cpuState(cpu).eflags).toBe(0x247);
    expect(cpuState(cpu)).not.toHaveProperty('flT');
  });
});

describe('isZero', () => {
  it('looks at every byte of any length', () => {
    for (const length of [0, 1, 4096, 0x1_0000, 0x1_0001, 0x2_5000]) {
      const bytes = new Uint8Array(length);
      expect(isZero(bytes)).toBe(true);
      if (length === 0) continue;
      for (const at of [0, length >> 1, length - 1]) {
        bytes[at] = 1;
        expect(isZero(bytes)).toBe(false);
        bytes[at] = 0;
      }
    }
  });
});
