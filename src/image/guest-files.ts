import { readFileSync } from 'node:fs';
import { VmletError } from '../errors.js';
import { cpioDirectory, cpioFile, type CpioEntry } from './cpio.js';
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

/**
 * Sets network cards up as the kernel command line has it: vmlet.net=SETTING,... for eth0, eth1..., each `dhcp`, `none` or ADDRESS/PREFIX with
 * `@GATEWAY` behind it. Drivers are loaded for the cards that are there.
 */
const NET_SCRIPT = `#!/bin/sh
read -r words < /proc/cmdline
settings=
for word in $words; do case $word in vmlet.net=*) settings=\${word#vmlet.net=},;; esac; done
for card in /sys/bus/pci/devices/*; do
  read -r class < $card/class
  case $class in 0x02*) ;; *) continue ;; esac
  for alias in $card/modalias $card/virtio*/modalias; do
    [ -e $alias ] && read -r name < $alias && modprobe -q "$name"
  done
done
index=0
while [ -n "$settings" ]; do
  setting=\${settings%%,*} settings=\${settings#*,} card=eth$index index=$((index + 1))
  [ "$setting" = none ] && continue
  if ! ip link set $card up 2> /dev/null; then
    echo "vmlet-net: there is no card $card, or no driver for it" >&2
    continue
  fi
  tries=0
  while [ "$(cat /sys/class/net/$card/carrier)" != 1 ] && [ $tries -lt 50 ]; do tries=$((tries + 1)); usleep 100000; done
  if [ "$setting" = dhcp ]; then
    udhcpc -i $card -q -n -t 5 -T 1 -s /etc/vmlet/udhcpc > /dev/null 2>&1 || echo "vmlet-net: $card got no address by DHCP" >&2
  else
    ip addr add \${setting%%@*} broadcast + dev $card
    case $setting in *@*) ip route add default via \${setting#*@} dev $card; echo "nameserver \${setting#*@}" > /etc/resolv.conf ;; esac
  fi
done
`;

const UDHCPC_SCRIPT = `#!/bin/sh
case $1 in
  deconfig) ip addr flush dev $interface; ip link set $interface up ;;
  bound | renew)
    ip addr flush dev $interface
    ip addr add $ip/\${mask:-24} broadcast \${broadcast:-+} dev $interface
    for via in $router; do ip route add default via $via dev $interface; break; done
    : > /etc/resolv.conf
    [ -n "$domain" ] && echo "search $domain" >> /etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done
    [ -n "$hostname" ] && hostname "$hostname"
    ;;
esac
exit 0
`;

/** What makes a built image a vmlet guest: its init, and how init sets up a network. */
export function initFiles(arch: GuestArch): CpioEntry[] {
  return [
    cpioFile('init', readAgent(arch), 0o755),
    cpioDirectory('etc/vmlet'),
    cpioFile('etc/vmlet/net', NET_SCRIPT, 0o755),
    cpioFile('etc/vmlet/udhcpc', UDHCPC_SCRIPT, 0o755),
  ];
}

/** Where the agent lies when it is added to an initramfs that has an init of its own. */
export const ADDED_INIT = 'vmlet-init';

export function addedInitFiles(arch: GuestArch): CpioEntry[] {
  return [cpioFile(ADDED_INIT, readAgent(arch), 0o755)];
}
