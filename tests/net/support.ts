import { Prng } from '../../src/host/backends/entropy.js';
import { ManualClock } from '../../src/host/clock.js';
import { parseIpv4, parseMac, type Mac } from '../../src/net/address.js';
import { IpHost, type IpHostOptions } from '../../src/net/ip-host.js';
import { Switch, type SwitchPortOptions } from '../../src/net/switch.js';

export const ip = (text: string): number => {
  const address = parseIpv4(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
};

export const mac = (last: number): Mac => Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, last);

export const macOf = (text: string): Mac => parseMac(text) as Mac;

export const hex = (text: string): Uint8Array => Uint8Array.from(text.replace(/\s+/g, '').match(/../g) ?? [], octet => Number.parseInt(octet, 16));

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Bytes that differ by position and seed. */
export const pattern = (length: number, seed = 1): Uint8Array => {
  const bytes = new Uint8Array(length);
  let x = seed | 1;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
    bytes[i] = x >>> 16;
  }
  return bytes;
};

/** A switch with hosts 10.0.0.1, 10.0.0.2 ... on it. */
export class TestNet {
  readonly clock = new ManualClock();
  readonly hub: Switch;
  readonly hosts: IpHost[] = [];

  constructor(readonly seed: number = 1) {
    this.hub = new Switch({ clock: this.clock, random: stream => new Prng(seed, stream) });
  }

  host(options: Partial<IpHostOptions> = {}, port: SwitchPortOptions = {}): IpHost {
    const number = this.hosts.length + 1;
    const host = new IpHost({
      port: this.hub.connect(port),
      clock: this.clock,
      random: new Prng(this.seed, `host${number}`),
      mac: mac(number),
      address: ip(`10.0.0.${number}`),
      prefix: 24,
      ...options,
    });
    this.hosts.push(host);
    return host;
  }

  /** Moves virtual time in ms. */
  run(ms: number): void {
    this.clock.advance(ms * 1e6);
  }
}
