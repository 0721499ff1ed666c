// Who runs in bench:linux, and how each is started.
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { BenchError, npmPackage, REPOSITORY } from './common.mjs';

export const V86_VERSION = '0.5.462';
const MEMORY_MB = 512;
const CMDLINE = 'console=ttyS0';
const HERE = join(REPOSITORY, 'tests/bench');
const SEABIOS = process.env.VMLET_BENCH_SEABIOS ?? '/usr/share/seabios';

const findProgram = name => {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
  throw new BenchError(`${name} is not installed (Debian: apt-get install qemu-system-x86)`);
};

const vmlet = arch => ({
  arch,
  onNode: true,
  ours: true,
  command: (guest, { node, append, engine }) => [
    node.path, join(HERE, 'vmlet-child.mjs'),
    JSON.stringify({ arch, kernel: guest.kernel, vmlinux: guest.vmlinux, initrd: guest.initrd, cmdline: CMDLINE + append, memoryMb: MEMORY_MB, engine }),
  ],
});

const qemu = (arch, program) => ({
  arch,
  command: (guest, { append }) => [
    findProgram(program), '-cpu', 'max', '-accel', 'tcg', '-m', String(MEMORY_MB), '-display', 'none', '-serial', 'stdio',
    '-kernel', guest.kernel, '-initrd', guest.initrd, '-append', CMDLINE + append,
  ],
});

const native = arch => ({ arch, untilExit: true, command: guest => [guest.program, '1'] });

/**
 * `command` (guest, { node, append, engine }) gives the command line, or throws a BenchError that says what is missing; `append` is added to the kernel's.
 * `onNode`: runs under each Node version. `ours`: runs with each engine and each build.
 */
export const CONTENDERS = {
  'vmlet-amd64': vmlet('x86_64'),
  'qemu-amd64': qemu('x86_64', 'qemu-system-x86_64'),
  'vmlet-i386': vmlet('i386'),
  'v86-i386': {
    arch: 'i386',
    onNode: true,
    command: async (guest, { node, append }) => {
      const bios = join(SEABIOS, 'bios.bin');
      const vgaBios = join(SEABIOS, 'vgabios-stdvga.bin');
      if (!existsSync(bios) || !existsSync(vgaBios)) {
        throw new BenchError('v86 needs SeaBIOS and its VGA BIOS (Debian: apt-get install seabios; elsewhere name their folder with VMLET_BENCH_SEABIOS)');
      }
      const options = { package: await npmPackage('v86', V86_VERSION), bios, vgaBios, kernel: guest.kernel, initrd: guest.initrd, cmdline: CMDLINE + append, memoryMb: MEMORY_MB };
      return [node.path, join(HERE, 'v86-child.mjs'), JSON.stringify(options)];
    },
  },
  'qemu-i386': qemu('i386', 'qemu-system-i386'),
  'native-amd64': native('x86_64'),
  'native-i386': native('i386'),
};

/** Pairs that are compared: the rival's time divided by ours. */
export const RATIOS = [
  { rival: 'v86-i386', ours: 'vmlet-i386' },
  { rival: 'qemu-i386', ours: 'vmlet-i386' },
  { rival: 'qemu-amd64', ours: 'vmlet-amd64' },
];
