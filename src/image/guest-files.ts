import { readFileSync } from 'node:fs';
import { VmletError } from '../errors.js';
import { cpioFile, type CpioEntry } from './cpio.js';
import type { GuestArch } from './kernel.js';

const FOLDER = new URL('../../images/agent/', import.meta.url);

/** The guest agent of an architecture: a static ELF file. */
export function readAgent(arch: GuestArch): Uint8Array {
  const file = new URL(arch === 'x86_64' ? 'agent-amd64' : 'agent-i386', FOLDER);
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new VmletError('ERR_VMLET_IMAGE_NOT_FOUND', `the guest agent is missing: ${file.pathname}`, { hint: 'Install vmlet again, or build it: node guest/build.mjs', cause });
  }
}

/** What makes a built image a vmlet guest: its init. */
export function initFiles(arch: GuestArch): CpioEntry[] {
  return [cpioFile('init', readAgent(arch), 0o755)];
}

/** Where the agent lies when it is added to an initramfs that has an init of its own. */
export const ADDED_INIT = 'vmlet-init';

export function addedInitFiles(arch: GuestArch): CpioEntry[] {
  return [cpioFile(ADDED_INIT, readAgent(arch), 0o755)];
}
