import { cpioFile, type CpioEntry } from './cpio.js';
import type { GuestArch } from './kernel.js';

const INIT = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts && mount -t devpts pts /dev/pts
hostname -F /etc/hostname
while read -r module; do insmod "$module"; done < /lib/modules/vmlet.list
export HOME=/root TERM=linux PATH=/bin
cd /root
exec setsid -c sh -l
`;

/** What makes a built image a vmlet guest: its init. */
export function initFiles(_arch: GuestArch): CpioEntry[] {
  return [cpioFile('init', INIT, 0o755)];
}
