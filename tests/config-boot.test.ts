import { describe, expect, it } from 'vitest';
import { checkOptions, type VMOptions } from '../src/config.js';

const config = (options: VMOptions) => checkOptions(options);
const message = (options: VMOptions): string => {
  try {
    checkOptions(options);
  } catch (error) {
    return (error as Error).message;
  }
  return '';
};

describe('what a machine boots from', () => {
  it('is the image unless there is something else', () => {
    expect(config({})).toMatchObject({ image: 'amd64', bootOrder: [], agent: true });
    expect(config({ disks: ['a.img'] })).toMatchObject({ image: 'amd64', bootOrder: [], disks: [{ interface: 'virtio' }] });
    expect(config({ kernel: 'k', cdroms: ['cd.iso'] })).toMatchObject({ kernel: 'k', bootOrder: [], cdroms: ['cd.iso'] });
  });

  it('follows from floppies and CDs, or is told', () => {
    expect(config({ floppies: ['f.img,ro'], cdroms: ['c.iso'], disks: ['d.img'] })).toMatchObject({ image: undefined, agent: false, bootOrder: ['floppy', 'cdrom', 'disk'], floppies: [{ path: 'f.img', readOnly: true }] });
    expect(config({ boot: 'cd, hd', cdroms: ['c.iso'], disks: ['d.img', 'e.img,virtio'] })).toMatchObject({ bootOrder: ['cdrom', 'disk'], disks: [{ interface: 'ide' }, { interface: 'virtio' }] });
    expect(config({ bios: 'seabios.bin', disks: ['d.img'] })).toMatchObject({ bootOrder: [], disks: [{ interface: 'ide' }] });
  });

  it('must be there and must be known', () => {
    expect(message({ boot: 'tape' })).toContain("boot: 'tape' is not known");
    expect(message({ boot: 'disk' })).toContain('nothing to boot from disk');
    expect(message({ boot: 'net' })).toContain('nothing to boot from net');
    expect(message({ boot: 'disk', disks: ['d.img'], kernel: 'k' })).toContain('a boot order was given together with an image or a kernel');
    expect(message({ boot: 'disk', disks: ['d.img'], append: 'quiet' })).toContain('no kernel command line');
    expect(message({ boot: 'disk', disks: ['d.img'], agent: true })).toContain('commands cannot be run');
    expect(message({ floppies: ['a', 'b', 'c'] })).toContain('up to 2 drives');
    expect(message({ disks: ['a', 'b', 'c'], cdroms: ['d', 'e'] })).toContain('more than four IDE disks and CDs');
    expect(message({ floppies: [',ro'] })).toContain('the path is empty');
  });
});
