// The guest of bench:linux: the benchmark program compiled for both architectures, packed with busybox into an initramfs.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { BenchError, benchCache, loadDist, REPOSITORY } from './common.mjs';

const FLAGS = {
  x86_64: ['-m64', '-O2', '-static'],
  i386: ['-m32', '-O2', '-static', '-march=i686', '-msse2', '-mfpmath=sse'],
};
const IMAGES = { x86_64: 'amd64', i386: 'i386' };
const run = promisify(execFile);

/** Where gb.c and init are: an option, VMLET_BENCH_DIR, or the folder shared/bench beside the repository. */
export const benchSources = option => {
  const folder = resolve(option ?? process.env.VMLET_BENCH_DIR ?? join(REPOSITORY, '../shared/bench'));
  for (const name of ['gb.c', 'init']) {
    if (!existsSync(join(folder, name))) throw new BenchError(`no ${name} in ${folder}: name the folder of the benchmark's sources with --sources or VMLET_BENCH_DIR`);
  }
  return folder;
};

/** Compiles the guest program, once for each source and flags; gives its path. */
export const compileGuest = async (sources, arch) => {
  const source = join(sources, 'gb.c');
  const compiler = process.env.CC ?? 'gcc';
  const key = createHash('sha256').update(readFileSync(source)).update(JSON.stringify([compiler, FLAGS[arch]])).digest('hex').slice(0, 16);
  const folder = join(await benchCache(), 'guest');
  const binary = join(folder, `gb-${arch}-${key}`);
  if (existsSync(binary)) return binary;
  mkdirSync(folder, { recursive: true });
  const partial = `${binary}.${process.pid}`;
  try {
    await run(compiler, [...FLAGS[arch], '-o', partial, source, '-lm']);
  } catch (error) {
    const hint = error.code === 'ENOENT'
      ? `install a C compiler (Debian: apt-get install gcc), or name one with CC`
      : arch === 'i386' ? 'gcc needs the 32-bit libraries for -m32 (Debian: apt-get install gcc-multilib)' : 'gcc needs the static C library (Debian: apt-get install libc6-dev)';
    throw new BenchError(`cannot compile the guest program for ${arch}: ${hint}\n${String(error.stderr ?? error.message).slice(0, 600)}`);
  }
  renameSync(partial, binary);
  return binary;
};

/** The init without the workloads that are not among `rows`; those of the C program run all or not at all. */
const initOf = (text, rows, ofProgram) =>
  text
    .split('\n')
    .filter(line => {
      if (line.startsWith('/bin/gb ')) return rows.some(row => ofProgram.includes(row));
      const named = /@B (\w+)/.exec(line);
      return named === null || rows.includes(named[1]);
    })
    .join('\n');

/** The files of one architecture: { arch, kernel, vmlinux, kernelVersion, initrd, program }. The initramfs is written into `folder`. */
export const prepareGuest = async (arch, { sources, folder, rows, ofProgram }) => {
  const { cpioDevice, cpioDirectory, cpioFile, readCpio, resolveImage, writeCpio } = await loadDist('image/index.js');
  const program = await compileGuest(sources, arch);
  const image = await resolveImage(IMAGES[arch], { onProgress: text => console.error(`bench: ${text}`) });
  const busybox = readCpio(readFileSync(image.initrd)).entries.find(({ path }) => path === 'bin/busybox');
  if (busybox === undefined) throw new BenchError(`the image ${image.name} holds no bin/busybox`);
  const initrd = join(folder, `bench-${arch}.cpio`);
  const archive = writeCpio([
    ...['bin', 'dev', 'proc', 'sys'].map(path => cpioDirectory(path)),
    cpioDevice('dev/console', 'char', 5, 1),
    cpioFile('bin/busybox', busybox.data, 0o755),
    cpioFile('bin/gb', readFileSync(program), 0o755),
    cpioFile('init', Buffer.from(initOf(readFileSync(join(sources, 'init'), 'utf8'), rows, ofProgram)), 0o755),
  ]);
  writeFileSync(initrd, archive);
  return { arch, kernel: image.kernel.bzImage, vmlinux: image.kernel.vmlinux, kernelVersion: image.kernelVersion, initrd, program };
};
