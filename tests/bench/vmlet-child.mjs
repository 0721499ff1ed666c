// One guest in a process of its own: node vmlet-child.mjs JSON. The serial line is stdin and stdout; with `report`, one line of JSON goes to fd 3 at the end.
// { arch, kernel, vmlinux, initrd, append, cmdline, memoryMb, time, report, engine }; `image` in place of the files resolves a built-in guest.
import { readFileSync, writeSync } from 'node:fs';
import { CORE_FILE, loadDist } from './lib/common.mjs';

const options = JSON.parse(process.argv[2]);
const { Machine } = await loadDist('host/machine.js');
if (options.image !== undefined) {
  const { resolveImage } = await loadDist('image/index.js');
  const { arch, kernel, initrd, cmdline } = await resolveImage(options.image);
  Object.assign(options, { arch, kernel: kernel.bzImage, vmlinux: kernel.vmlinux, initrd, cmdline: options.cmdline ?? cmdline });
}
const { arch, kernel, vmlinux, initrd, append, cmdline, memoryMb = 512, time = 'warp', report, engine } = options;
const read = file => (file === undefined ? undefined : readFileSync(file));
/** As the command line tool does it; builds to compare with may be older. */
const fileBytes = await loadDist('host/backends/file-bytes.js').then(({ FileBytes }) => file => new FileBytes(file), () => read);
let sink;
const input = [];
const feed = () => {
  while (input.length > 0) {
    const taken = sink?.receive(input[0]) ?? 0;
    if (taken === 0) return;
    if (taken === input[0].length) input.shift();
    else input[0] = input[0].subarray(taken);
  }
};
const serial = {
  attach: to => (sink = to),
  write: data => {
    for (let at = 0; at < data.length; ) at += writeSync(1, data, at);
  },
  onSpace: feed,
};
const files = [initrd, append].filter(file => file !== undefined).map(read);
const machine = new Machine({
  core: new WebAssembly.Module(readFileSync(CORE_FILE)),
  memoryBytes: memoryMb * 2 ** 20,
  arch,
  time,
  seed: 1,
  engine: engine === undefined ? undefined : { kind: engine },
  boot: { kind: 'kernel', kernel: read(kernel), unpacked: vmlinux === undefined ? undefined : fileBytes(vmlinux), initrd: files.length < 2 ? files[0] : Buffer.concat(files), cmdline, name: kernel },
  serial: [serial],
});
process.stdin.on('data', piece => {
  input.push(new Uint8Array(piece));
  feed();
  machine.wake();
});
const start = performance.now();
const exit = await machine.run();
const wallMs = performance.now() - start;
if (exit.error !== undefined) console.error(exit.error);
if (report) {
  const { reason, cause, instructions, timeNs } = exit;
  writeSync(3, `${JSON.stringify({ reason, cause, instructions, timeNs, wallMs, jit: machine.core.jitStats(), node: process.versions.node })}\n`);
}
process.exit(exit.reason === 'poweroff' ? 0 : 1);
