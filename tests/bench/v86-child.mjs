// The v86 contender: node v86-child.mjs JSON. The serial line goes to stdout. { package, bios, vgaBios, kernel, initrd, cmdline, memoryMb }
import { readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { package: folder, bios, vgaBios, kernel, initrd, cmdline, memoryMb } = JSON.parse(process.argv[2]);
const { V86 } = await import(pathToFileURL(join(folder, 'build/libv86.mjs')).href);
const file = path => {
  const bytes = readFileSync(path);
  return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) };
};
const emulator = new V86({
  wasm_path: join(folder, 'build/v86.wasm'),
  bios: file(bios),
  vga_bios: file(vgaBios),
  bzimage: file(kernel),
  initrd: file(initrd),
  cmdline,
  memory_size: memoryMb * 2 ** 20,
  autostart: true,
  fastboot: true,
  disable_speaker: true,
});
let line = [];
emulator.add_listener('serial0-output-byte', byte => {
  line.push(byte);
  if (byte !== 10) return;
  writeSync(1, Uint8Array.from(line));
  line = [];
});
