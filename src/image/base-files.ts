import { cpioDevice, cpioDirectory, cpioFile, cpioSymlink, writeCpio, type CpioEntry } from './cpio.js';
import { formatError } from './codec/bytes.js';

const DIRECTORIES = ['bin', 'dev', 'etc', 'home', 'lib', 'lib/modules', 'mnt', 'proc', 'run', 'sys', 'usr', 'var', 'var/log', 'var/lib'];

/** One folder of commands under all its usual names. */
const LINKS: Record<string, string> = { sbin: 'bin', 'usr/bin': '../bin', 'usr/sbin': '../bin', 'usr/lib': '../lib', 'var/run': '../run', linuxrc: 'init' };

/** Paths that every built initramfs has as folders, or as links to folders: archives after it must not make them again. */
export const BASE_PATHS: ReadonlySet<string> = new Set([...DIRECTORIES, 'root', 'tmp', 'var/tmp', 'sbin', 'usr/bin', 'usr/sbin', 'usr/lib', 'var/run']);

/** Folders, links and device nodes that a guest has before its init runs. */
export function baseEntries(): CpioEntry[] {
  return [
    ...DIRECTORIES.map((path) => cpioDirectory(path)),
    cpioDirectory('root', 0o700),
    cpioDirectory('tmp', 0o1777),
    cpioDirectory('var/tmp', 0o1777),
    ...Object.entries(LINKS).map(([path, target]) => cpioSymlink(path, target)),
    cpioDevice('dev/console', 'char', 5, 1, 0o600),
    cpioDevice('dev/null', 'char', 1, 3, 0o666),
    cpioDevice('dev/ttyS0', 'char', 4, 64, 0o600),
    cpioFile('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n'),
    cpioFile('etc/group', 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n'),
    cpioFile('etc/hosts', '127.0.0.1\tlocalhost vmlet\n::1\tlocalhost\n'),
    cpioFile('etc/hostname', 'vmlet\n'),
    cpioFile('etc/resolv.conf', ''),
  ];
}

/** A small archive of files for one run, to be placed after a built initramfs. */
export function appendCpio(entries: Iterable<CpioEntry>): Uint8Array {
  return writeCpio(entries, BASE_PATHS);
}

/** The applet names that a busybox binary holds as one sorted list of strings; it need not run here. */
export function busyboxApplets(binary: Uint8Array): string[] {
  const bytes = Buffer.from(binary.buffer, binary.byteOffset, binary.byteLength);
  let at = bytes.indexOf('\0[\0[[\0', 0, 'latin1') + 1;
  if (at === 0) throw formatError('busybox', 'its list of applets was not found');
  const applets: string[] = [];
  for (;;) {
    const end = bytes.indexOf(0, at);
    const name = bytes.toString('latin1', at, end);
    if (end < 0 || !/^[A-Za-z0-9_[.+-]+$/.test(name)) break;
    applets.push(name);
    at = end + 1;
  }
  return applets;
}
