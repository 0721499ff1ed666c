import { describe, expect, it } from 'vitest';
import { bytesFile, isRefusal, missing, type FileSource, VirtualFiles } from '../../src/pxe/files.js';
import { addKernelWords, withKernelWords } from '../../src/pxe/kernel-words.js';

const added = (text: string): string => addKernelWords(text, 'console=ttyS0').text;
const count = (text: string): number => addKernelWords(text, 'console=ttyS0').count;

describe('words for the kernels of a configuration', () => {
  it('PXELINUX: each APPEND of a kernel', () => {
    expect(added('label a\n\tkernel linux\n\tappend vga=788 initrd=i.gz --- quiet \nLABEL b\n  LINUX l2\n  APPEND -\n')).toBe('label a\n\tkernel linux\n\tappend vga=788 initrd=i.gz --- quiet console=ttyS0\nLABEL b\n  LINUX l2\n  APPEND console=ttyS0\n');
  });

  it('PXELINUX: a kernel without APPEND, by itself or by that of all labels', () => {
    expect(added('label a\n kernel linux\nlabel b\n kernel other\n append x\n')).toBe('label a\n kernel linux\n\tappend console=ttyS0\nlabel b\n kernel other\n append x console=ttyS0\n');
    expect(added('default a\nappend ro\nlabel a\n kernel linux\n')).toBe('default a\nappend ro console=ttyS0\nlabel a\n kernel linux\n');
  });

  it('PXELINUX: modules, boot sectors and local disks keep what they have', () => {
    for (const label of ['kernel chain.c32\n append hd0 1', 'com32 menu.c32\n append other.cfg', 'kernel memdisk.bin\n append raw', 'localboot 0', 'kernel gpxelinux.0']) {
      expect(count(`label a\n ${label}\n`), label).toBe(0);
    }
    expect(count('include other.cfg\ndefault vesamenu.c32\n')).toBe(0);
  });

  it('GRUB: each linux line', () => {
    expect(added("menuentry 'Install' {\n    linux    /linux vga=788 --- quiet \n    initrd   /initrd.gz\n}\n")).toBe("menuentry 'Install' {\n    linux    /linux vga=788 --- quiet console=ttyS0\n    initrd   /initrd.gz\n}\n");
    expect(count('linux16 /memtest\nlinuxefi /k\nset linux=/x\n')).toBe(2);
  });

  it('iPXE: each kernel line, before what happens when it fails', () => {
    expect(added('#!ipxe\nkernel http://h/k initrd=i || goto failed\ninitrd http://h/i\nboot\n')).toBe('#!ipxe\nkernel http://h/k initrd=i console=ttyS0 || goto failed\ninitrd http://h/i\nboot\n');
    expect(added('#!ipxe\nkernel k')).toBe('#!ipxe\nkernel k console=ttyS0');
  });

  it('never loses a line, whatever it is given', () => {
    for (const text of ['', '\n', 'label', 'append', 'label \n kernel ', '\r\nlabel x\r\n kernel y\r\n append z\r\n', '\u0000\u00ff']) {
      const { text: changed } = addKernelWords(text, 'w');
      for (const line of text.split('\n')) expect(changed).toContain(line.trimEnd());
    }
  });
});

describe('a folder whose configurations are changed on the way', () => {
  const latin = Uint8Array.of(...[...'label d\xe9mo\n linux k\n append a\n'].map(char => char.charCodeAt(0)));
  const files = new VirtualFiles().set('pxelinux.cfg/default', latin).set('a/txt.cfg', 'label a\n kernel k\n append x\n').set('pxelinux.0', 'label a\n kernel k\n append x\n').set('big.cfg', new Uint8Array(300_000).fill(0x0a));
  const client = { address: '10.0.2.15', service: 'tftp' as const };
  const told: [string, number][] = [];
  const source = withKernelWords(files, 'console=ttyS0', (path, changed) => told.push([path, changed]));
  const read = (from: FileSource, path: string): Uint8Array => {
    const opened = from.open(path, client);
    if (isRefusal(opened)) throw new Error(opened.reason);
    const bytes = new Uint8Array(opened.size);
    expect(opened.read(0, bytes)).toBe(opened.size);
    opened.close();
    return bytes;
  };

  it('changes configurations in any character set, and nothing else', () => {
    expect(Buffer.from(read(source, '/pxelinux.cfg/default')).toString('latin1')).toBe('label d\xe9mo\n linux k\n append a console=ttyS0\n');
    expect(Buffer.from(read(source, 'a/txt.cfg')).toString()).toBe('label a\n kernel k\n append x console=ttyS0\n');
    for (const path of ['pxelinux.0', 'big.cfg']) expect(read(source, path)).toEqual(read(files, path));
    expect(told).toEqual([['/pxelinux.cfg/default', 1], ['a/txt.cfg', 1]]);
  });

  it('takes new files where the folder does', () => {
    expect(source.create).toBeUndefined();
    expect(withKernelWords({ ...files, open: files.open.bind(files), create: () => missing('asked') }, 'w', () => {}).create!('new', client)).toEqual({ refused: 'missing', reason: 'asked' });
  });

  it('refuses what the folder refuses, and closes what it read', () => {
    expect(source.open('../x.cfg', client)).toMatchObject({ refused: 'denied' });
    expect(source.open('none.cfg', client)).toMatchObject({ refused: 'missing' });
    let open = 0;
    const counted = withKernelWords({ open: path => (path === 'x.cfg' ? (open++, { ...bytesFile(Uint8Array.of(0x23)), read: (_, into) => ((into[0] = 0x23), 1), close: () => open-- }) : missing('no')) }, 'w', () => {});
    read(counted, 'x.cfg');
    expect(open).toBe(0);
  });
});
