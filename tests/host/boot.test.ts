import { describe, expect, it } from 'vitest';
import { VmletError } from '../../src/errors.js';
import { gdt, identityMap } from '../../src/host/boot/cpu-setup.js';
import { memoryMap } from '../../src/host/boot/e820.js';
import { parseElf, physicalEntry, pvhEntry } from '../../src/host/boot/elf.js';
import { bootLinux, parseSetupHeader } from '../../src/host/boot/linux.js';
import { protocolOf } from '../../src/host/boot/load.js';
import { bootMultiboot, findMultibootHeader } from '../../src/host/boot/multiboot.js';
import { bootPvh } from '../../src/host/boot/pvh.js';
import { planRom } from '../../src/host/boot/rom.js';
import { fakeCpu, makeBzImage, makeElf, ram } from './boot-support.js';

const ZERO_PAGE = 0x9_0000;

const failure = (run: () => unknown): VmletError => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(VmletError);
    return error as VmletError;
  }
  throw new Error('nothing was thrown');
};

describe('memory map', () => {
  it('has holes for the EBDA, video and firmware, and all RAM from 1 MB on', () => {
    expect(memoryMap(512 * 2 ** 20)).toEqual([
      { start: 0, length: 0x9fc00, type: 1 },
      { start: 0x9fc00, length: 0x400, type: 2 },
      { start: 0xe0000, length: 0x20000, type: 2 },
      { start: 0x100000, length: 511 * 2 ** 20, type: 1 },
    ]);
    expect(memoryMap(2 ** 20)).toHaveLength(3);
  });
});

describe('cpu setup', () => {
  it('writes the descriptors that the boot protocol asks for', () => {
    const view = new DataView(gdt(64).buffer);
    expect(view.getBigUint64(16, true)).toBe(0x00af9b000000ffffn);
    expect(view.getBigUint64(24, true)).toBe(0x00cf93000000ffffn);
    expect(new DataView(gdt(32).buffer).getBigUint64(16, true)).toBe(0x00cf9b000000ffffn);
  });

  it('maps four gigabytes onto themselves', () => {
    const view = new DataView(identityMap(0x9_1000).buffer);
    expect(view.getBigUint64(0, true)).toBe(0x92003n);
    expect(view.getBigUint64(0x1000 + 24, true)).toBe(0x96003n);
    expect(view.getBigUint64(0x2000 + 8 * 2047, true)).toBe(0xffe00083n);
  });
});

describe('ELF', () => {
  it('reads segments, entry and the PVH note of both classes', () => {
    for (const bits of [32, 64] as const) {
      const elf = parseElf(makeElf({ bits, entry: 0x10_0004, pvh: 0x123_4560 }));
      expect(elf).toMatchObject({ bits, machine: bits === 64 ? 'x86_64' : 'i386', entry: 0x10_0004 });
      expect(elf.segments).toHaveLength(1);
      expect(pvhEntry(elf)).toBe(0x123_4560);
    }
  });

  it('turns a virtual entry into a physical one', () => {
    const elf = parseElf(makeElf({ bits: 32, entry: 0xc010_0010, segments: [{ phys: 0x10_0000, virt: 0xc010_0000, data: new Uint8Array(64) }] }));
    expect(physicalEntry(elf)).toBe(0x10_0010);
  });

  it('names what is wrong with a file', () => {
    expect(failure(() => parseElf(makeElf({ machine: 183 })))).toMatchObject({ code: 'ERR_VMLET_IMAGE_ARCH', message: expect.stringContaining('64-bit ARM') });
    expect(failure(() => parseElf(makeElf({ bits: 32, machine: 8, bigEndian: true })))).toMatchObject({ code: 'ERR_VMLET_IMAGE_ARCH', message: expect.stringContaining('big-endian') });
    expect(failure(() => parseElf(makeElf({ type: 1 }))).code).toBe('ERR_VMLET_IMAGE_FORMAT');
    const whole = makeElf({ segments: [{ phys: 0x10_0000, data: new Uint8Array(4096) }] });
    for (const length of [3, 20, 60, 100, 1000]) expect(failure(() => parseElf(whole.subarray(0, length))).code).toBe('ERR_VMLET_IMAGE_FORMAT');
  });

  it('survives any damage to its headers with a VmletError or a result', () => {
    const whole = makeElf({ pvh: 1 });
    for (let at = 0; at < 64 + 112; at++) {
      for (const value of [0, 1, 0x7f, 0xff]) {
        const damaged = whole.slice();
        damaged[at] = value;
        try {
          const memory = ram(2);
          bootLinux(memory, fakeCpu(), { kernel: damaged });
        } catch (error) {
          expect(error).toBeInstanceOf(VmletError);
        }
      }
    }
  });
});

describe('Linux', () => {
  it('enters an unpacked 64-bit kernel as boot.rst has it', () => {
    const memory = ram(64);
    const cpu = fakeCpu();
    const kernel = makeBzImage();
    const unpacked = makeElf({ entry: 0x100_0000, segments: [{ phys: 0x100_0000, data: Uint8Array.of(1, 2, 3), memoryBytes: 0x2000 }] });
    const initrd = new Uint8Array(5000).fill(7);
    const report = bootLinux(memory, cpu, { kernel, unpacked, initrd, cmdline: 'console=ttyS0', rsdp: 0xe_0000 });
    expect(report).toEqual({ protocol: 'linux-64', entry: 0x100_0000 });
    expect(cpu.get64('rip')).toBe(0x100_0000n);
    expect(cpu.get64('rsi')).toBe(BigInt(ZERO_PAGE));
    expect(cpu.get32('csSel')).toBe(0x10);
    expect(cpu.get32('csAttr') & 0x2000).not.toBe(0);
    expect(cpu.get32('dsSel')).toBe(0x18);
    expect(cpu.get64('cr0') & 0x8000_0001n).toBe(0x8000_0001n);
    expect(cpu.get64('efer')).toBe(0x500n);
    expect(cpu.flags & 0x200).toBe(0);
    const { view } = memory;
    expect([...memory.ram.subarray(0x100_0000, 0x100_0004)]).toEqual([1, 2, 3, 0]);
    expect(view.getUint16(ZERO_PAGE + 0x1fe, true)).toBe(0xaa55);
    expect(memory.ram[ZERO_PAGE + 0x210]).toBe(0xff);
    expect(view.getBigUint64(ZERO_PAGE + 0x70, true)).toBe(0xe0000n);
    expect(memory.ram[ZERO_PAGE + 0x1e8]).toBe(4);
    const cmdline = view.getUint32(ZERO_PAGE + 0x228, true);
    expect(new TextDecoder().decode(memory.ram.subarray(cmdline, cmdline + 14))).toBe('console=ttyS0\0');
    const at = view.getUint32(ZERO_PAGE + 0x218, true);
    expect(at % 4096).toBe(0);
    expect(at + 5000).toBeLessThanOrEqual(memory.size);
    expect(at + 8192).toBeGreaterThan(memory.size - 4096);
    expect(view.getUint32(ZERO_PAGE + 0x21c, true)).toBe(5000);
    expect(memory.ram[at + 4999]).toBe(7);
  });

  it('enters a 32-bit kernel with paging off', () => {
    const cpu = fakeCpu();
    const unpacked = makeElf({ bits: 32, entry: 0x100_0000, segments: [{ phys: 0x100_0000, virt: 0xc100_0000, data: Uint8Array.of(1) }] });
    expect(bootLinux(ram(64), cpu, { kernel: makeBzImage({ xloadflags: 0 }), unpacked })).toEqual({ protocol: 'linux-32', entry: 0x100_0000 });
    expect(cpu.get64('cr0')).toBe(0x11n);
    expect(cpu.get32('csLimit')).toBe(0xffff_ffff);
    expect(cpu.get64('rsi')).toBe(BigInt(ZERO_PAGE));
  });

  it('falls back to the stub of the kernel itself', () => {
    const payload = new Uint8Array(0x400).map((_, i) => i);
    for (const [xloadflags, protocol, offset] of [
      [1, 'linux-stub-64', 0x200],
      [0, 'linux-stub-32', 0],
    ] as const) {
      const memory = ram(64);
      const cpu = fakeCpu();
      const kernel = makeBzImage({ payload, xloadflags });
      expect(bootLinux(memory, cpu, { kernel })).toEqual({ protocol, entry: 0x10_0000 + offset });
      expect(memory.ram.subarray(0x10_0000, 0x10_0400)).toEqual(payload);
      expect(memory.view.getUint32(ZERO_PAGE + 0x214, true)).toBe(0x10_0000);
    }
  });

  it('gives kernels before protocol 2.02 their command line in the old way', () => {
    const memory = ram(16);
    const kernel = makeBzImage({ version: 0x201, loadflags: 0, payload: new Uint8Array(0x2000) });
    expect(bootLinux(memory, fakeCpu(), { kernel, cmdline: 'ro' })).toEqual({ protocol: 'linux-stub-32', entry: 0x1000 });
    expect(memory.view.getUint16(ZERO_PAGE + 0x20, true)).toBe(0xa33f);
    const at = ZERO_PAGE + memory.view.getUint16(ZERO_PAGE + 0x22, true);
    expect(new TextDecoder().decode(memory.ram.subarray(at, at + 3))).toBe('ro\0');
  });

  it('keeps the initial RAM disk below what the kernel can reach, and below the kernel when that is the only room', () => {
    const memory = ram(64);
    const unpacked = makeElf({ entry: 0x100_0000, segments: [{ phys: 0x100_0000, data: Uint8Array.of(1), memoryBytes: 0x100_0000 }] });
    bootLinux(memory, fakeCpu(), { kernel: makeBzImage({ initrdMax: 0x2ff_ffff }), unpacked, initrd: new Uint8Array(0x1000) });
    expect(memory.view.getUint32(ZERO_PAGE + 0x218, true)).toBe(0x2ff_f000);
    const small = ram(33);
    bootLinux(small, fakeCpu(), { kernel: makeBzImage({ relocatable: false }), unpacked, initrd: new Uint8Array(0x20_0000) });
    expect(small.view.getUint32(ZERO_PAGE + 0x218, true)).toBe(0xe0_0000);
  });

  it('moves a relocatable 64-bit kernel down when it does not fit where it was linked', () => {
    const memory = ram(32);
    const cpu = fakeCpu();
    const unpacked = makeElf({ entry: 0x100_0010, segments: [{ phys: 0x100_0000, data: Uint8Array.of(1), memoryBytes: 0x180_0000 }] });
    expect(bootLinux(memory, cpu, { kernel: makeBzImage(), unpacked }).entry).toBe(0x20_0010);
    expect(memory.ram[0x20_0000]).toBe(1);
    expect(failure(() => bootLinux(ram(32), cpu, { kernel: makeBzImage({ relocatable: false }), unpacked })).code).toBe('ERR_VMLET_MEMORY');
  });

  it('loads a vmlinux without a header', () => {
    const memory = ram(32);
    const kernel = makeElf({ entry: 0x100_0000, segments: [{ phys: 0x100_0000, data: Uint8Array.of(1) }] });
    expect(bootLinux(memory, fakeCpu(), { kernel }).protocol).toBe('linux-64');
    expect(memory.view.getUint32(ZERO_PAGE + 0x202, true)).toBe(0x53726448);
  });

  it('refuses wrong input with what, why and what to do', () => {
    const boot = (kernel: Uint8Array, more = {}) => failure(() => bootLinux(ram(32), fakeCpu(), { kernel, name: 'vmlinuz', ...more }));
    expect(boot(new Uint8Array(0))).toMatchObject({ code: 'ERR_VMLET_IMAGE_FORMAT', message: 'vmlinuz: the file is empty' });
    expect(boot(new Uint8Array(4096)).code).toBe('ERR_VMLET_IMAGE_FORMAT');
    expect(boot(makeBzImage().subarray(0, 0x900)).message).toContain('truncated');
    const arm = new Uint8Array(4096);
    arm.set([0x41, 0x52, 0x4d, 0x64], 56);
    expect(boot(arm)).toMatchObject({ code: 'ERR_VMLET_IMAGE_ARCH', message: expect.stringContaining('ARM') });
    expect(boot(Uint8Array.of(0x1f, 0x8b, ...new Array<number>(2000).fill(0))).message).toContain('gzip');
    expect(boot(makeBzImage({ initSize: 0x1000_0000 }))).toMatchObject({ code: 'ERR_VMLET_MEMORY', hint: 'give it more memory: -m 512M' });
    expect(boot(makeBzImage(), { arch: 'i386' }).code).toBe('ERR_VMLET_IMAGE_ARCH');
    expect(boot(makeBzImage({ cmdlineSize: 255 }), { cmdline: 'x'.repeat(256) }).message).toContain('at most 255');
    expect(boot(makeBzImage(), { initrd: new Uint8Array(0x200_0000) }).code).toBe('ERR_VMLET_MEMORY');
  });

  it('survives any damage to the setup header', () => {
    const whole = makeBzImage();
    for (let at = 0x1f0; at < 0x270; at++) {
      for (const value of [0, 0x7f, 0xff]) {
        const kernel = whole.slice();
        kernel[at] = value;
        try {
          bootLinux(ram(4), fakeCpu(), { kernel, initrd: new Uint8Array(100) });
        } catch (error) {
          expect(error).toBeInstanceOf(VmletError);
        }
      }
    }
  });

  it('reads the header of every protocol', () => {
    expect(parseSetupHeader(makeBzImage({ version: 0x203 })).cmdlineBytes).toBe(255);
    expect(parseSetupHeader(makeBzImage({ version: 0x20a })).prefAddress).toBe(0x100_0000);
    expect(parseSetupHeader(makeBzImage({ setupSectors: 0, payload: new Uint8Array(0x2000) })).payloadAt).toBe(5 * 512);
  });
});

describe('PVH', () => {
  it('gives the kernel its start info, memory map and initrd', () => {
    const memory = ram(64);
    const cpu = fakeCpu();
    const kernel = makeElf({ pvh: 0x10_0000 });
    expect(protocolOf(kernel)).toBe('pvh');
    expect(bootPvh(memory, cpu, { kernel, initrd: new Uint8Array(100).fill(9), cmdline: 'quiet', rsdp: 0xe_0000 })).toEqual({ protocol: 'pvh', entry: 0x10_0000 });
    const info = Number(cpu.get64('rbx'));
    const { view } = memory;
    expect(view.getUint32(info, true)).toBe(0x336ec578);
    expect(view.getUint32(info + 12, true)).toBe(1);
    expect(view.getBigUint64(info + 32, true)).toBe(0xe0000n);
    expect(view.getUint32(info + 48, true)).toBe(4);
    const module = Number(view.getBigUint64(info + 16, true));
    expect(view.getBigUint64(module + 8, true)).toBe(100n);
    expect(memory.ram[Number(view.getBigUint64(module, true))]).toBe(9);
    expect(cpu.get64('cr0')).toBe(0x11n);
    expect(failure(() => bootPvh(memory, cpu, { kernel: makeElf() })).code).toBe('ERR_VMLET_IMAGE_FORMAT');
  });
});

const multibootHeader = (flags: number, ...fields: number[]): Uint8Array => {
  const words = Uint32Array.of(0x1bad_b002, flags, -(0x1bad_b002 + flags) >>> 0, ...fields);
  return new Uint8Array(words.buffer);
};

describe('multiboot', () => {
  const elf = (flags = 3) => {
    const data = new Uint8Array(256);
    data.set(multibootHeader(flags), 16);
    return makeElf({ bits: 32, entry: 0x10_0040, segments: [{ phys: 0x10_0000, data, memoryBytes: 0x3000 }] });
  };

  it('loads an ELF file with modules and tells it what the specification lists', () => {
    const memory = ram(16);
    const cpu = fakeCpu();
    const kernel = elf();
    expect(protocolOf(kernel)).toBe('multiboot');
    const modules = [
      { bytes: Uint8Array.of(1, 2, 3), cmdline: 'one a=b' },
      { bytes: new Uint8Array(5000).fill(4) },
    ];
    expect(bootMultiboot(memory, cpu, { kernel, modules, cmdline: '-v', name: 'k.elf' })).toEqual({ protocol: 'multiboot', entry: 0x10_0040 });
    expect(cpu.get64('rax')).toBe(0x2badb002n);
    const info = Number(cpu.get64('rbx'));
    const word = (offset: number) => memory.view.getUint32(offset, true);
    const text = (at: number) => new TextDecoder().decode(memory.ram.subarray(at, memory.ram.indexOf(0, at)));
    expect(word(info) & 0x24d).toBe(0x24d);
    expect(word(info + 4)).toBe(639);
    expect(word(info + 8)).toBe(15 * 1024);
    expect(text(word(info + 16))).toBe('k.elf -v');
    expect(text(word(info + 64))).toBe('vmlet');
    expect(word(info + 20)).toBe(2);
    const list = word(info + 24);
    expect(word(list) % 4096).toBe(0);
    expect(word(list + 4) - word(list)).toBe(3);
    expect(text(word(list + 8))).toBe('one a=b');
    expect(memory.ram[word(list + 16) + 4999]).toBe(4);
    expect(word(list + 16)).toBeGreaterThan(word(list));
    let bytes = 0;
    for (let at = word(info + 48); at < word(info + 48) + word(info + 44); at += word(at) + 4) bytes += word(at + 20) === 1 ? word(at + 12) : 0;
    expect(bytes).toBe(0x9_fc00 + 15 * 2 ** 20);
    expect(cpu.flags).toBe(2);
    expect(cpu.get64('cr0') & 0x8000_0001n).toBe(1n);
  });

  it('loads a flat image by its address fields', () => {
    const memory = ram(16);
    const image = new Uint8Array(0x200);
    image.set(multibootHeader(0x1_0003, 0x10_0010, 0x10_0000, 0x10_0100, 0x10_0400, 0x10_0040), 16);
    image[0x40] = 0xf4;
    memory.ram.fill(0xaa, 0x10_0000, 0x10_1000);
    expect(bootMultiboot(memory, fakeCpu(), { kernel: image }).entry).toBe(0x10_0040);
    expect(memory.ram[0x10_0040]).toBe(0xf4);
    expect(memory.ram[0x10_0100]).toBe(0);
    expect(memory.ram[0x10_03ff]).toBe(0);
    expect(memory.ram[0x10_0400]).toBe(0xaa);
  });

  it('takes 64-bit ELF contents behind a 32-bit entry', () => {
    const data = new Uint8Array(256);
    data.set(multibootHeader(0), 0);
    expect(bootMultiboot(ram(16), fakeCpu(), { kernel: makeElf({ segments: [{ phys: 0x10_0000, data }] }) }).protocol).toBe('multiboot');
  });

  it('finds the header only where it may be', () => {
    const image = new Uint8Array(0x4000);
    image.set(multibootHeader(0), 8188);
    expect(findMultibootHeader(image)).toBeUndefined();
    image.set(multibootHeader(0), 8176);
    expect(findMultibootHeader(image)?.at).toBe(8176);
    image.set([0], 8184);
    expect(findMultibootHeader(image)).toBeUndefined();
  });

  it('refuses what it cannot do', () => {
    const boot = (kernel: Uint8Array, more = {}) => failure(() => bootMultiboot(ram(2), fakeCpu(), { kernel, ...more }));
    expect(boot(elf(0x13)).message).toContain('requires features');
    expect(boot(elf(), { modules: [{ bytes: new Uint8Array(0x20_0000) }] }).code).toBe('ERR_VMLET_MEMORY');
    expect(boot(makeElf()).message).toContain('no multiboot header');
    const flat = new Uint8Array(64);
    flat.set(multibootHeader(0));
    expect(boot(flat).message).toContain('neither an ELF file');
    flat.set(multibootHeader(0x1_0000, 0x10_0000, 0x10_0000, 0x20_0000, 0, 0));
    expect(boot(flat).message).toContain('truncated');
    flat.set(multibootHeader(0x1_0000, 0x10_0000, 0x20_0000, 0, 0, 0));
    expect(boot(flat).message).toContain('contradict');
  });
});

describe('ROM', () => {
  it('ends at 4 GiB and is shadowed below 1 MB', () => {
    const image = new Uint8Array(0x3_0000).map((_, i) => i >> 8);
    const plan = planRom(image);
    expect(plan.base).toBe(0xfffd_0000);
    expect(plan.shadow.phys).toBe(0xe_0000);
    expect(plan.shadow.bytes).toEqual(image.subarray(0x1_0000));
    expect(planRom(new Uint8Array(16)).shadow.phys).toBe(0xf_fff0);
  });

  it('has a size between one paragraph and 16 MB', () => {
    for (const size of [0, 15, 16 * 2 ** 20 + 1]) expect(failure(() => planRom(new Uint8Array(size))).code).toBe('ERR_VMLET_IMAGE_FORMAT');
  });
});
