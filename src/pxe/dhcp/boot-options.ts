// The boot part of a DHCP reply: PXE 2.1, RFC 4578, UEFI's HTTP boot, PXELINUX (RFC 5071), iPXE.
import { concatBytes, u32, utf8 } from '../bytes.js';
import type { BootClient, BootDecision } from '../booter.js';
import { OPT, type DhcpMessage } from './codec.js';
import { encodeSuboptions, IPXE_SETTING, parseSuboptions, PXE_BOOT_AT_ONCE, PXE_VENDOR } from './options.js';

export interface BootReply {
  readonly siaddr?: string;
  readonly sname?: string;
  readonly file?: string;
  readonly options: Map<number, Uint8Array>;
}

/** How the answer travels: in a reply with an address, in a ProxyDHCP offer, or in an answer on port 4011. */
export type BootChannel = 'lease' | 'proxy-offer' | 'boot-server';

/**
 * The fields and options that make a client boot. An UEFI client's ProxyDHCP offer has neither option 43 nor a file: such firmware ignores offers
 * that say "boot at once" and then asks port 4011, where it is told.
 */
export const bootReply = (request: DhcpMessage, client: BootClient, decision: BootDecision, server: string, channel: BootChannel): BootReply => {
  const options = new Map<number, Uint8Array>();
  const guid = request.options.get(OPT.guid);
  if (client.kind === 'http') options.set(OPT.vendorClass, utf8('HTTPClient'));
  else if (client.kind === 'pxe' || (client.kind === 'ipxe' && client.vendorClass.startsWith('PXEClient'))) options.set(OPT.vendorClass, utf8('PXEClient'));
  // Echoed where it was sent; ROMs without it must boot as well.
  if (guid && options.has(OPT.vendorClass)) options.set(OPT.guid, guid);
  if (decision.boot !== 'file') return { options };

  const asksHere = channel === 'proxy-offer' && client.kind === 'pxe' && client.platform !== 'bios';
  const next = decision.server ?? server;
  if (asksHere) return { siaddr: server, options };
  if (client.kind === 'pxe' || client.kind === 'ipxe') {
    const suboptions: [number, Uint8Array][] = [[PXE_VENDOR.discoveryControl, Uint8Array.of(PXE_BOOT_AT_ONCE)]];
    const item = channel === 'boot-server' ? parseSuboptions(request.options.get(OPT.vendor) ?? new Uint8Array(0)).get(PXE_VENDOR.bootItem) : undefined;
    // PXE 2.1, 2.2.5: the boot server repeats the item that was asked for.
    if (item) suboptions.push([PXE_VENDOR.bootItem, item]);
    if (options.has(OPT.vendorClass)) options.set(OPT.vendor, encodeSuboptions(suboptions));
  }
  const wanted = new Set(request.options.get(OPT.parameters) ?? []);
  const file = utf8(decision.file);
  if (client.kind === 'http' || file.length > 127 || wanted.has(OPT.bootFile)) options.set(OPT.bootFile, file);
  if (wanted.has(OPT.tftpServer)) options.set(OPT.tftpServer, utf8(next));
  if (wanted.has(OPT.tftpServers)) options.set(OPT.tftpServers, u32(addressNumber(next)));
  if (decision.rootPath !== undefined) options.set(OPT.rootPath, utf8(decision.rootPath));
  const { pxelinux } = decision;
  if (pxelinux) {
    options.set(OPT.pxelinuxMagic, Uint8Array.of(0xf1, 0x00, 0x74, 0x7e));
    if (pxelinux.config !== undefined) options.set(OPT.pxelinuxConfig, utf8(pxelinux.config));
    if (pxelinux.prefix !== undefined) options.set(OPT.pxelinuxPrefix, utf8(pxelinux.prefix));
    if (pxelinux.rebootS !== undefined) options.set(OPT.pxelinuxReboot, u32(pxelinux.rebootS));
  }
  // Everything was said: iPXE need not wait for a ProxyDHCP server.
  if (client.kind === 'ipxe' && channel === 'lease') options.set(OPT.etherboot, noProxyDhcp());
  return { siaddr: next, sname: client.kind === 'http' ? '' : next, file: file.length > 127 || client.kind === 'http' ? '' : decision.file, options };
};

/** Option 175: iPXE need not wait for a ProxyDHCP server, which it does for two seconds and more. */
export const noProxyDhcp = (): Uint8Array => encodeSuboptions([[IPXE_SETTING.noPxeDhcp, Uint8Array.of(1)]], false);

const addressNumber = (text: string): number => concatBytes([Uint8Array.from(text.split('.'), Number)]).reduce((sum, byte) => sum * 256 + byte, 0);
