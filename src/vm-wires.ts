// What a VM has on its wires, loaded for machines with cards only.
import type { VMConfig, VMOptions } from './config.js';
import type { VirtualClock } from './host/clock.js';
import type { PreparedGuest } from './vm-guest.js';
import type { MachineNetboot } from './vm-netboot.js';
import type { MachineNetwork } from './vm-network.js';

/** The cards of a machine with what is behind them. */
export const connectNetwork = async (config: VMConfig, options: VMOptions, clock: VirtualClock, netboot: MachineNetboot | undefined, machine = 'vm'): Promise<MachineNetwork> => {
  const [{ MachineNetwork }, { DEFAULT_EPOCH_SECONDS }] = await Promise.all([import('./vm-network.js'), import('./host/machine.js')]);
  const epochSeconds = config.epochSeconds ?? (config.time === 'realtime' ? Math.floor(Date.now() / 1000) : DEFAULT_EPOCH_SECONDS);
  config.epochSeconds = epochSeconds;
  return MachineNetwork.create({ machine, config, clock, seed: config.seed, epochSeconds, dhcp: netboot?.dhcp, warn: options.onGuestLog });
};

/** Boot servers and the PXE ROM, for machines that boot from the network. With an option ROM or firmware of its own the machine has only the servers. */
export const prepareNetboot = async (config: VMConfig, options: VMOptions, clock: VirtualClock, guest: PreparedGuest): Promise<MachineNetboot | undefined> => {
  const ownRom = guest.boot.kind === 'firmware' && guest.boot.order.includes('net') && config.nics[0].rom === undefined;
  if (!ownRom && config.netboot === undefined) return undefined;
  const [{ MachineNetboot }, { planNetboot }, { formatIpv4 }, { nthAddress }] = await Promise.all([import('./vm-netboot.js'), import('./config-netboot.js'), import('./net/address.js'), import('./config-net.js')]);
  const plan = config.netboot && planNetboot(config.netboot, formatIpv4(nthAddress(config.net!.subnet, 2)), ownRom);
  if (plan !== undefined && plan.allow.length > 0) config.net = { ...config.net!, restrict: options.net === undefined ? false : config.net!.restrict, allow: [...(config.net!.allow ?? []), ...plan.allow] };
  const prepareKernel = async (kernel: Uint8Array): Promise<{ kernel: Uint8Array; unpacked?: Uint8Array }> => {
    const [{ unpackKernelCached }, { isBzImage }] = await Promise.all([import('./image/resolve.js'), import('./image/kernel.js')]);
    return { kernel, unpacked: isBzImage(kernel) ? await unpackKernelCached(kernel, { cache: options.cache, signal: options.signal }) : undefined };
  };
  return new MachineNetboot({ plan, ownRom, clock, seed: config.seed, memoryBytes: config.memoryBytes, prepareKernel, onLine: options.onNetboot });
};
