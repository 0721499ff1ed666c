import { configError, type DiskOptions, parseDisk } from './config.js';

/** What a machine can boot from, for the built-in BIOS and for one of your own. */
export interface BootDeviceOptions {
  /**
   * Boots by firmware, in this order: `disk`, `floppy`, `cdrom`, `net`; a list or a text with commas. By default, when there are floppies or CDs and no
   * kernel: what there is, floppies first, disks last. Without `bios` the firmware is the built-in one.
   */
  boot?: string | readonly string[];
  /** Up to two floppy images, raw, with ',ro' or ',snapshot' behind the path if wanted. */
  floppies?: readonly (string | DiskOptions)[];
  /** Up to two CD or DVD images (ISO 9660). */
  cdroms?: readonly string[];
}

export interface BootDeviceConfig {
  /** The boot order, empty unless the machine boots by firmware. */
  bootOrder: string[];
  floppies: DiskOptions[];
  cdroms: string[];
}

export const BOOT_DEVICES = ['disk', 'floppy', 'cdrom', 'net'] as const;
const SHORT: Record<string, string> = { hd: 'disk', fd: 'floppy', cd: 'cdrom', network: 'net', pxe: 'net' };

/** Checks what there is to boot from; throws ERR_VMLET_CONFIG. `hasKernel`: something is started without firmware. */
export const checkBootDevices = (options: BootDeviceOptions, machine: { disks: number; nics: number; hasKernel: boolean }): BootDeviceConfig => {
  const floppies = (options.floppies ?? []).map(floppy => (typeof floppy === 'string' ? parseDisk(floppy, 'floppy') : floppy));
  const cdroms = [...(options.cdroms ?? [])];
  if (floppies.some(floppy => typeof floppy?.path !== 'string' || floppy.path === '')) throw configError('floppies: each needs a path');
  if (cdroms.some(path => typeof path !== 'string' || path === '')) throw configError('cdroms: each needs a path');
  if (floppies.length > 2) throw configError(`${floppies.length} floppies: a machine has up to 2 drives`);
  if (cdroms.length > 2) throw configError(`${cdroms.length} CDs: a machine has up to 2 drives`);
  const order = bootOrder(options.boot);
  if (machine.hasKernel) {
    if (order !== undefined) throw configError('a boot order was given together with an image or a kernel', 'use one of them');
    return { bootOrder: [], floppies, cdroms };
  }
  const there: Record<string, number> = { disk: machine.disks, floppy: floppies.length, cdrom: cdroms.length, net: machine.nics };
  for (const device of order ?? []) if (there[device] === 0) throw configError(`boot: the machine has nothing to boot from ${device}`, ADD[device]);
  const found = ['floppy', 'cdrom'].filter(device => there[device] > 0);
  const otherwise = found.length === 0 ? [] : [...found, ...(machine.disks > 0 ? ['disk'] : [])];
  return { bootOrder: order ?? otherwise, floppies, cdroms };
};

const ADD: Record<string, string> = {
  disk: 'add --disk FILE',
  floppy: 'add --floppy FILE',
  cdrom: 'add --cdrom FILE',
  net: 'add --net user',
};

const bootOrder = (boot: string | readonly string[] | undefined): string[] | undefined => {
  if (boot === undefined) return undefined;
  const words = (typeof boot === 'string' ? boot.split(',') : [...boot]).map(word => (typeof word === 'string' ? (SHORT[word.trim()] ?? word.trim()) : ''));
  for (const word of words) if (!(BOOT_DEVICES as readonly string[]).includes(word)) throw configError(`boot: '${word}' is not known`, `use ${BOOT_DEVICES.join(', ')}, or several with commas`);
  if (words.length === 0) throw configError('boot: the order is empty', `use ${BOOT_DEVICES.join(', ')}, or several with commas`);
  return [...new Set(words)];
};
