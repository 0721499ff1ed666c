import { gzipSync } from 'node:zlib';

export interface TarFile {
  path: string;
  data?: Buffer | string;
  type?: string;
  link?: string;
  mode?: number;
}

/** One 512-byte header and its content, as POSIX ustar. */
export function tarRecord({ path, data = '', type = '0', link = '', mode = 0o644 }: TarFile, prefix = ''): Buffer {
  const body = Buffer.from(data);
  const header = Buffer.alloc(512);
  header.write(path, 0, 100);
  header.write(`${mode.toString(8).padStart(7, '0')}\0`, 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${body.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(link, 157, 100);
  header.write('ustar\x0000', 257, 'latin1');
  header.write(prefix, 345, 155);
  header.write(`${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, body, Buffer.alloc(-body.length & 511)]);
}

export function makeTar(files: readonly TarFile[]): Buffer {
  return Buffer.concat([...files.map((file) => tarRecord(file)), Buffer.alloc(1024)]);
}

export function makeAr(members: readonly { name: string; data: Buffer }[]): Buffer {
  const parts: Buffer[] = [Buffer.from('!<arch>\n')];
  for (const { name, data } of members) {
    parts.push(Buffer.from(`${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(data.length).padEnd(10)}\`\n`));
    parts.push(data, Buffer.alloc(data.length & 1, '\n'));
  }
  return Buffer.concat(parts);
}

export function makeDeb(control: string, files: readonly TarFile[], pack: (tar: Buffer) => Buffer = (tar) => gzipSync(tar), suffix = '.gz'): Buffer {
  return makeAr([
    { name: 'debian-binary', data: Buffer.from('2.0\n') },
    { name: 'control.tar.gz', data: gzipSync(makeTar([{ path: './control', data: control }])) },
    { name: `data.tar${suffix}`, data: pack(makeTar(files)) },
  ]);
}

/** A file with the headers of an x86 ELF and one section of the given name. */
export function makeElf(options: { bits?: 32 | 64; machine?: number; section?: string; content?: string } = {}): Buffer {
  const { bits = 64, machine = bits === 64 ? 62 : 3, section = '.modinfo', content = '' } = options;
  const wide = bits === 64;
  const headerSize = wide ? 64 : 52;
  const entrySize = wide ? 64 : 40;
  const names = Buffer.from(`\0${section}\0.shstrtab\0`);
  const body = Buffer.from(content);
  const bodyAt = headerSize;
  const namesAt = bodyAt + body.length;
  const tableAt = namesAt + names.length;
  const file = Buffer.alloc(tableAt + 3 * entrySize);
  file.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  file.writeUInt16LE(1, 16);
  file.writeUInt16LE(machine, 18);
  if (wide) file.writeBigUInt64LE(BigInt(tableAt), 40);
  else file.writeUInt32LE(tableAt, 32);
  file.writeUInt16LE(entrySize, wide ? 58 : 46);
  file.writeUInt16LE(3, wide ? 60 : 48);
  file.writeUInt16LE(2, wide ? 62 : 50);
  body.copy(file, bodyAt);
  names.copy(file, namesAt);
  const writeSection = (index: number, name: number, at: number, size: number): void => {
    const base = tableAt + index * entrySize;
    file.writeUInt32LE(name, base);
    file.writeUInt32LE(1, base + 4);
    if (wide) {
      file.writeBigUInt64LE(BigInt(at), base + 24);
      file.writeBigUInt64LE(BigInt(size), base + 32);
    } else {
      file.writeUInt32LE(at, base + 16);
      file.writeUInt32LE(size, base + 20);
    }
  };
  writeSection(1, 1, bodyAt, body.length);
  writeSection(2, 1 + section.length + 1, namesAt, names.length);
  return file;
}

export function makeModule(info: readonly string[], bits: 32 | 64 = 64): Buffer {
  return makeElf({ bits, content: info.map((line) => `${line}\0`).join('') });
}

/** A bzImage of protocol 2.15 around `payload`, with a setup part of one sector more than the boot sector. */
export function makeBzImage(payload: Buffer, options: { arch64?: boolean; version?: string; protocol?: number } = {}): Buffer {
  const { arch64 = true, version = '6.1.0-test (builder@host) #1', protocol = 0x020f } = options;
  const setup = Buffer.alloc(3 * 512);
  setup[0x1f1] = 2;
  setup.writeUInt16LE(0xaa55, 0x1fe);
  setup.write('HdrS', 0x202);
  setup.writeUInt16LE(protocol, 0x206);
  setup.writeUInt16LE(0x400 - 0x200, 0x20e);
  setup.write(`${version}\0`, 0x400);
  setup.writeUInt16LE(arch64 ? 1 : 0, 0x236);
  const stub = Buffer.alloc(64, 0x90);
  setup.writeUInt32LE(stub.length, 0x248);
  setup.writeUInt32LE(payload.length, 0x24c);
  const code = Buffer.concat([stub, payload, Buffer.alloc(-(stub.length + payload.length) & 15)]);
  setup.writeUInt32LE(code.length / 16, 0x1f4);
  return Buffer.concat([setup, code]);
}

/** A payload as a kernel build leaves it: compressed, and but for gzip followed by the size. */
export function gzipPayload(vmlinux: Buffer): Buffer {
  return gzipSync(vmlinux);
}
