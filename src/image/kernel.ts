// Linux kernel images: the setup header and payload of a bzImage (Documentation/arch/x86/boot.rst).
import { VmletError } from '../errors.js';
import { ascii, formatError, le16, le32, startsWith } from './codec/bytes.js';
import { decompress, detectCompression, type Compression } from './codec/decompress.js';
import { ELF_MAGIC, EM_386, EM_X86_64, readElfHeader } from './elf.js';

const WHAT = 'Linux kernel';
const SETUP_SECTS = 0x1f1;
const SYSSIZE = 0x1f4;
const BOOT_FLAG = 0x1fe;
const HEADER_MAGIC = 0x202;
const VERSION = 0x206;
const KERNEL_VERSION = 0x20e;
const XLOADFLAGS = 0x236;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const XLF_KERNEL_64 = 1;
const MAX_UNPACKED_BYTES = 512 << 20;

export type GuestArch = 'i386' | 'x86_64';

export interface BzImageInfo {
  /** Boot protocol, major in the high byte: 0x020f is 2.15. */
  protocol: number;
  /** The version string, as `uname -r` and the builder's words; empty when there is none. */
  version: string;
  /** Known from protocol 2.12 on. */
  arch: GuestArch | undefined;
  /** The compressed kernel, from protocol 2.08 on. */
  payload: Uint8Array | undefined;
}

export interface UnpackedKernel {
  /** The ELF file, with whatever the kernel's build appends to it (relocations). */
  vmlinux: Uint8Array;
  compression: Compression | 'none';
  version: string;
  arch: GuestArch;
}

/** Whether the bytes have a bzImage's marks; a bare boot sector has only the first. */
export function isBzImage(bytes: Uint8Array): boolean {
  return bytes.length > PAYLOAD_LENGTH + 4 && le16(bytes, BOOT_FLAG) === 0xaa55 && ascii(bytes, HEADER_MAGIC, HEADER_MAGIC + 4) === 'HdrS';
}

/** Reads the setup header. Throws ERR_VMLET_IMAGE_FORMAT when it is no bzImage, or cut short. */
export function readBzImage(bytes: Uint8Array): BzImageInfo {
  if (!isBzImage(bytes)) throw formatError(WHAT, 'not a bzImage: the boot flag or the "HdrS" mark is missing');
  const protocol = le16(bytes, VERSION);
  const codeAt = ((bytes[SETUP_SECTS] || 4) + 1) * 512;
  const size = codeAt + (protocol >= 0x0204 ? le32(bytes, SYSSIZE) : le16(bytes, SYSSIZE)) * 16;
  // The last paragraph is rounded up, and a signature may have taken its place.
  if (bytes.length < size - 16) throw formatError(WHAT, `truncated: ${bytes.length} of ${size} bytes`);
  const versionAt = le16(bytes, KERNEL_VERSION);
  let version = '';
  if (protocol >= 0x0200 && versionAt !== 0) {
    const field = ascii(bytes, versionAt + 0x200, versionAt + 0x200 + 256);
    version = field.slice(0, Math.max(0, field.indexOf('\0')));
  }
  let payload: Uint8Array | undefined;
  if (protocol >= 0x0208) {
    const from = codeAt + le32(bytes, PAYLOAD_OFFSET);
    const length = le32(bytes, PAYLOAD_LENGTH);
    if (length > 0) {
      if (from + length > bytes.length) throw formatError(WHAT, `truncated: the compressed kernel ends at ${from + length}`);
      payload = bytes.subarray(from, from + length);
    }
  }
  let arch: GuestArch | undefined;
  if (protocol >= 0x020c) arch = le16(bytes, XLOADFLAGS) & XLF_KERNEL_64 ? 'x86_64' : 'i386';
  return { protocol, version, arch, payload };
}

/**
 * Unpacks the kernel of a bzImage. Undefined when its compression is unknown or its payload is not an ELF file: then only
 * the kernel's own stub can unpack it. Throws ERR_VMLET_IMAGE_FORMAT when the image is damaged.
 */
export function unpackKernel(bzImage: Uint8Array): UnpackedKernel | undefined {
  const info = readBzImage(bzImage);
  const { payload } = info;
  if (!payload || payload.length < 16) return undefined;
  let vmlinux: Uint8Array;
  let compression: Compression | 'none' = 'none';
  if (startsWith(payload, ELF_MAGIC)) {
    vmlinux = payload;
  } else {
    const kind = detectCompression(payload);
    if (!kind) return undefined;
    compression = kind;
    // The build appends the unpacked size as four bytes; gzip ends in the same by itself.
    const size = le32(payload, payload.length - 4);
    const packed = kind === 'gzip' ? payload : payload.subarray(0, -4);
    if (size > MAX_UNPACKED_BYTES) throw formatError(WHAT, `its compressed part claims ${size} bytes`);
    try {
      vmlinux = decompress(kind, packed, { size, maxBytes: MAX_UNPACKED_BYTES }).bytes;
    } catch (cause) {
      throw formatError(WHAT, `its compressed part is damaged (${(cause as Error).message})`, cause);
    }
  }
  if (!startsWith(vmlinux, ELF_MAGIC)) return undefined;
  return { vmlinux, compression, version: info.version, arch: elfArch(vmlinux) };
}

/** The guest architecture of an x86 ELF file; throws ERR_VMLET_IMAGE_ARCH for any other. */
export function elfArch(bytes: Uint8Array): GuestArch {
  const { machine, bits } = readElfHeader(bytes);
  if (machine === EM_X86_64 && bits === 64) return 'x86_64';
  if (machine === EM_386 && bits === 32) return 'i386';
  throw new VmletError('ERR_VMLET_IMAGE_ARCH', `the kernel is for ELF machine ${machine} (${bits}-bit), not for an x86 machine`, {
    hint: 'Use a kernel built for i386 or x86_64.',
  });
}
