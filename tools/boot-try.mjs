// Boots a kernel with the compiled host: node tools/boot-try.mjs KERNEL [INITRD|-] [CMDLINE]. Serial goes to stdout, figures to stderr.
// VMLET_DIST (dist), VMLET_CORE (dist/core.wasm), VMLET_MEMORY (MB, 256), VMLET_TIME (warp|realtime), VMLET_TIMEOUT (virtual s), VMLET_ARCH,
// VMLET_STUB=1 (let the guest unpack itself), VMLET_DISK (raw image, read-only), VMLET_INPUT (text sent to COM1), VMLET_ROM=1 (KERNEL is a ROM), VMLET_REBOOT=1 (start over after a reset),
// VMLET_ENGINE=jit, VMLET_JIT (its options as JSON), VMLET_COUNT=1 (a core made with VMLET_COUNT=1 says what compiled code left to it).
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const { env } = process;
const dist = resolve(env.VMLET_DIST ?? 'dist');
const load = file => import(pathToFileURL(resolve(dist, file)).href);
const { Machine } = await load('host/machine.js');
const { unpackKernel, isBzImage } = await load('image/kernel.js');
const { MemoryBlock } = await load('host/backends/block.js');

const [kernelFile, initrdFile = '-', cmdline = 'console=ttyS0 earlyprintk=serial,ttyS0,115200 panic=-1'] = process.argv.slice(2);
const kernel = new Uint8Array(readFileSync(kernelFile));
const initrd = initrdFile === '-' ? undefined : new Uint8Array(readFileSync(initrdFile));
const started = performance.now();
const unpacked = env.VMLET_STUB || env.VMLET_ROM || !isBzImage(kernel) ? undefined : unpackKernel(kernel)?.vmlinux;
const unpackMs = performance.now() - started;
const module = new WebAssembly.Module(readFileSync(env.VMLET_CORE ?? resolve(dist, 'core.wasm')));
let sink;
const serial = {
  attach: to => (sink = to),
  write: data => process.stdout.write(data),
};
const boot = env.VMLET_ROM ? { kind: 'rom', image: kernel, name: kernelFile } : { kind: 'kernel', kernel, unpacked, initrd, cmdline, name: kernelFile };
const machine = new Machine({
  core: module,
  memoryBytes: Number(env.VMLET_MEMORY ?? 256) * 2 ** 20,
  arch: env.VMLET_ARCH,
  time: env.VMLET_TIME ?? 'warp',
  seed: 1,
  boot,
  serial: [serial],
  disks: env.VMLET_DISK ? [new MemoryBlock(new Uint8Array(readFileSync(env.VMLET_DISK)))] : [],
  rng: true,
  engine: env.VMLET_ENGINE === 'jit' ? { kind: 'jit', jit: env.VMLET_JIT ? JSON.parse(env.VMLET_JIT) : {} } : undefined,
  rebootAction: env.VMLET_REBOOT ? 'reset' : 'exit',
  debugExitPort: 0xf4,
  debugconPort: 0xe9,
  debugcon: { attach() {}, write: data => process.stdout.write(data) },
  timeoutNs: Number(env.VMLET_TIMEOUT ?? 600) * 1e9,
  onGuestLog: line => console.error(`[guest] ${line}`),
});
if (env.VMLET_INPUT) sink.receive(new TextEncoder().encode(env.VMLET_INPUT));
const abort = new AbortController();
process.once('SIGINT', () => abort.abort());
console.error(`unpacked in ${unpackMs.toFixed(0)} ms; entering by ${machine.boot.protocol} at 0x${machine.boot.entry.toString(16)}`);
const ran = performance.now();
const exit = await machine.run(abort.signal);
const wallMs = performance.now() - ran;
console.error(`\n${exit.reason}${exit.cause ? ` (${exit.cause})` : ''}${exit.code === undefined ? '' : ` code ${exit.code}`}`);
if (exit.error) console.error(exit.error);
console.error(`${exit.instructions} instructions in ${(wallMs / 1000).toFixed(2)} s: ${(exit.instructions / wallMs / 1000).toFixed(1)} MIPS; guest time ${(exit.timeNs / 1e9).toFixed(3)} s`);
const registers = machine.registers();
const hex = name => `${name}=${registers[name].toString(16)}`;
console.error(['rip', 'csSel', 'rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp', 'eflags', 'cr0', 'cr2', 'cr3', 'cr4', 'efer'].map(hex).join(' '));
console.error(`state ${machine.stateHash()}`);
if (env.VMLET_COUNT) {
  const { printCounts } = await import('./lib/counts.mjs');
  printCounts(machine.core.memory.buffer);
}
