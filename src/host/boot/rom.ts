import { VmletError } from '../../errors.js';

export const ROM_MIN_BYTES = 16;
export const ROM_MAX_BYTES = 16 * 2 ** 20;
const SHADOW_BYTES = 0x2_0000;
const FOUR_GIB = 2 ** 32;

/** Where the parts of a ROM image appear: whole below 4 GiB, and its last 128 KB (or less) below 1 MB. */
export interface RomPlan {
  /** Physical address of the image's first byte. */
  base: number;
  shadow: { phys: number; bytes: Uint8Array };
}

/** Plans a ROM that ends at 4 GiB, so that the reset vector is its last 16 bytes. Throws ERR_VMLET_IMAGE_FORMAT on an impossible size. */
export const planRom = (image: Uint8Array, name = 'ROM'): RomPlan => {
  if (image.length < ROM_MIN_BYTES || image.length > ROM_MAX_BYTES) {
    throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: ${image.length} bytes; a ROM has ${ROM_MIN_BYTES} bytes to ${ROM_MAX_BYTES / 2 ** 20} MB`, {
      hint: 'give the raw image of a BIOS, not an archive or a disk image',
    });
  }
  const bytes = image.subarray(Math.max(0, image.length - SHADOW_BYTES));
  return { base: FOUR_GIB - image.length, shadow: { phys: 0x10_0000 - bytes.length, bytes } };
};
