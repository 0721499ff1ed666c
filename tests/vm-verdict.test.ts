import { describe, expect, it } from 'vitest';
import type { MachineExit } from '../src/host/machine.js';
import { GuestWatch } from '../src/vm-verdict.js';

const verdict = (console: string): string => {
  const watch = new GuestWatch();
  watch.serialText(console);
  return watch.verdict({ reason: 'reset', timeNs: 2.5e9, instructions: 1 } as MachineExit, undefined, { wallMs: 1, consoleTail: [] }).text;
};

describe('the verdict of a panic', () => {
  it('is the words of the kernel', () => {
    expect(verdict('[    1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n')).toBe("the guest's kernel panicked after 2.500 s of guest time: Attempted to kill init! exitcode=0x00000100");
  });

  it('says when memory is what lacks', () => {
    expect(verdict('Kernel panic - not syncing: System is deadlocked on memory\n')).toMatch(/deadlocked on memory; it needs more memory$/);
    expect(verdict('[    1.4] Initramfs unpacking failed: write error\n[    2.4] Kernel panic - not syncing: No working init found.\n')).toMatch(/: No working init found\.; its initramfs did not fit: it needs more memory$/);
    // What is broken in another way needs no memory.
    expect(verdict('[    1.4] Initramfs unpacking failed: invalid magic at start of compressed archive\n[    2.4] Kernel panic - not syncing: No working init found.\n')).toMatch(/: No working init found\.$/);
  });
});
