import { describe, expect, it } from 'vitest';
import { blankDhcp, decodeDhcp, dhcpType, encodeDhcp, OPT, typeOption, type DhcpMessage } from '../../src/pxe/dhcp/codec.js';
import {
  encodeDomainSearch, encodeRoutes, encodeSuboptions, optionAddresses, parseGuid, parseIpxe, parseRelayAgent, parseRoutes, parseSuboptions, parseUserClasses, parseVendorIdentifying,
} from '../../src/pxe/dhcp/options.js';
import { describeClient } from '../../src/pxe/booter.js';
import { bytesOfHex, hexOf, utf8 } from '../../src/pxe/bytes.js';
import { Random } from '../support/random.js';

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const hex = (text: string): Uint8Array => bytesOfHex(text.replace(/\s/g, ''))!;
const value = (bytes: Uint8Array): DhcpMessage => {
  const decoded = decodeDhcp(bytes);
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.value;
};
/** A message by hand: header fields that matter and the options area as hex. */
const raw = (options: string, change: (header: Uint8Array) => void = () => {}): Uint8Array => {
  const area = hex(options);
  const bytes = new Uint8Array(240 + area.length);
  bytes.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
  bytes.set(MAC, 28);
  bytes.set([0x63, 0x82, 0x53, 0x63], 236);
  bytes.set(area, 240);
  change(bytes);
  return bytes;
};

describe('DHCP codec', () => {
  it('decodes a DISCOVER of a PXE ROM', () => {
    const message = value(raw('350101 390205dc 5d020000 5e03010201 6111 00 44454c4c 4a00 1051 8053 b9c04f4d3153 3c20 505845436c69656e743a417263683a30303030303a554e44493a303032303031 ff', header => {
      header[10] = 0x80;
      header[9] = 4;
    }));
    expect(message).toMatchObject({ op: 'request', xid: 0xdeadbeef, secs: 4, broadcast: true, ciaddr: '0.0.0.0', magic: true });
    expect(dhcpType(message)).toBe('DISCOVER');
    expect(describeClient(message)).toMatchObject({ mac: '52:54:00:12:34:56', kind: 'pxe', platform: 'bios', architectures: [0], uuid: '4c4c4544-004a-5110-8053-b9c04f4d3153' });
  });

  it('decodes BOOTP without options and short old messages', () => {
    const bytes = raw('', header => header.fill(0, 236, 240));
    expect(value(bytes)).toMatchObject({ magic: false });
    expect(value(bytes.subarray(0, 236))).toMatchObject({ magic: false });
    expect(dhcpType(value(bytes))).toBeUndefined();
  });

  it('reads overloaded file and sname, in this order', () => {
    const bytes = raw('350105 340103 0c0161 ff', header => {
      header.set(hex('0c0162 430370786e ff'), 108);
      header.set(hex('0c0163 ff'), 44);
    });
    const message = value(bytes);
    expect(new TextDecoder().decode(message.options.get(OPT.hostname))).toBe('abc');
    expect(message.options.get(OPT.bootFile)).toEqual(utf8('pxn'));
    expect(message).toMatchObject({ file: '', sname: '' });
  });

  it('joins and splits long options (RFC 3396)', () => {
    const long = Uint8Array.from({ length: 600 }, (_, i) => i);
    const { bytes, dropped } = encodeDhcp({ ...blankDhcp('reply', MAC, 1), options: new Map([[OPT.vendor, long]]) }, 1472);
    expect(dropped).toEqual([]);
    expect([...bytes].filter((byte, i) => byte === 43 && (i === 240 || i === 240 + 257 || i === 240 + 514)).length).toBe(3);
    expect(value(bytes).options.get(OPT.vendor)).toEqual(long);
  });

  it('pads to 300 bytes, puts the type first and option 82 last, and leaves out what does not fit', () => {
    const relay = hex('010474657374');
    const options = new Map([[OPT.relayAgent, relay], [OPT.domain, new Uint8Array(200)], [OPT.router, Uint8Array.of(10, 0, 0, 1)], [OPT.domainSearch, new Uint8Array(120)], [OPT.messageType, typeOption('ACK')]]);
    const message = { ...blankDhcp('reply', MAC, 1), options };
    expect(encodeDhcp({ ...message, options: new Map([[OPT.messageType, typeOption('ACK')]]) }).bytes.length).toBe(300);
    const { bytes, dropped } = encodeDhcp(message);
    expect(bytes.length).toBeLessThanOrEqual(548);
    expect(dropped).toEqual([OPT.domainSearch]);
    expect(hexOf(bytes.subarray(240, 243))).toBe('350105');
    expect([...value(bytes).options.keys()].at(-1)).toBe(OPT.relayAgent);
    expect(encodeDhcp(message, 1472).dropped).toEqual([]);
  });

  it('remarks cut options and a missing end', () => {
    expect(decodeDhcp(raw('350101'))).toMatchObject({ ok: true, warnings: ['the options do not end with option 255'] });
    expect(decodeDhcp(raw('350101 0c20 61'))).toMatchObject({ ok: true, warnings: ['option 12 in the options is cut off'] });
  });

  it('refuses what is no message', () => {
    expect(decodeDhcp(new Uint8Array(235))).toMatchObject({ ok: false });
    expect(decodeDhcp(raw('ff', header => (header[0] = 3)))).toMatchObject({ ok: false });
    expect(decodeDhcp(raw('ff', header => (header[2] = 17)))).toMatchObject({ ok: false });
  });

  it('never throws on any bytes, and what it decodes it encodes', () => {
    const random = new Random(5);
    for (let round = 0; round < 3000; round++) {
      const bytes = raw('', () => {});
      const area = Uint8Array.from({ length: random.below(120) }, () => (random.below(4) === 0 ? random.pick([52, 43, 82, 97, 77, 175, 255, 1, 2, 3]) : random.below(256)));
      const whole = new Uint8Array(240 + area.length);
      whole.set(bytes);
      whole.set(area, 240);
      for (let i = random.below(8); i > 0; i--) whole[random.below(whole.length)] = random.below(256);
      const decoded = decodeDhcp(whole.subarray(0, random.below(10) === 0 ? random.below(whole.length) : whole.length));
      if (!decoded.ok) continue;
      describeClient(decoded.value);
      for (const option of decoded.value.options.values()) {
        parseSuboptions(option);
        parseUserClasses(option);
        parseIpxe(option);
        parseRelayAgent(option);
        parseRoutes(option);
        parseGuid(option);
        parseVendorIdentifying(option);
      }
      const { bytes: again } = encodeDhcp(decoded.value, 1472);
      const options = new Map(decoded.value.options);
      expect(value(again).xid).toBe(decoded.value.xid);
      if (options.has(OPT.overload)) continue;
      for (const [code, data] of value(again).options) expect(options.get(code)).toEqual(data);
    }
  });
});

describe('option formats', () => {
  it('user classes with lengths and bare', () => {
    expect(parseUserClasses(utf8('iPXE'))).toEqual(['iPXE']);
    expect(parseUserClasses(hex('0469505845 0161'))).toEqual(['iPXE', 'a']);
    expect(parseUserClasses(new Uint8Array(0))).toEqual([]);
  });

  it('relay agent information', () => {
    expect(parseRelayAgent(hex('0104 00000001 0206 aabbccddeeff 0504 0a000001 0b04 0a0000fe'))).toEqual({ circuitId: '00000001', remoteId: 'aabbccddeeff', linkSelection: '10.0.0.1', serverIdOverride: '10.0.0.254' });
  });

  it('classless routes, as RFC 3442 has them', () => {
    const routes = [
      { network: '0.0.0.0', prefix: 0, gateway: '10.0.0.1' },
      { network: '10.17.0.0', prefix: 16, gateway: '10.0.0.2' },
      { network: '10.27.129.0', prefix: 24, gateway: '10.0.0.3' },
      { network: '10.229.0.128', prefix: 25, gateway: '10.0.0.4' },
    ];
    expect(hexOf(encodeRoutes(routes))).toBe('000a000001' + '100a110a000002' + '180a1b810a000003' + '190ae500800a000004');
    expect(parseRoutes(encodeRoutes(routes))).toEqual(routes);
    expect(parseRoutes(hex('210a'))).toEqual([]);
  });

  it('iPXE features and version', () => {
    const info = parseIpxe(hex('b105018086100e 130101 190100 180101 eb03010501 ff'));
    expect([...info.features]).toEqual(['http', 'bzimage']);
    expect(info.version).toBe('1.5.1');
  });

  it('suboptions, domain search, address lists', () => {
    expect(hexOf(encodeSuboptions([[6, Uint8Array.of(8)]]))).toBe('060108ff');
    expect([...parseSuboptions(hex('00 060108 ff 0a0100'))]).toEqual([[6, Uint8Array.of(8)]]);
    expect(hexOf(encodeDomainSearch(['a.bc']))).toBe('0161026263' + '00');
    expect(optionAddresses(new Map([[6, hex('0a000001 0a000002 0a')]]), 6)).toEqual(['10.0.0.1', '10.0.0.2']);
  });
});

describe('what clients say of themselves', () => {
  const client = (options: string) => describeClient(value(raw(options)));
  it.each([
    ['5d020007', 'efi-x64'],
    ['5d020009', 'efi-x64'],
    ['5d020006', 'efi-ia32'],
    ['5d02000b', 'efi-arm64'],
    ['5d020010', 'efi-x64'],
    ['5d0400630000', 'bios'],
    ['5d020063', 'other'],
    ['', 'bios'],
  ])('option 93 as %s is %s', (options, platform) => expect(client(`350101${options}ff`).platform).toBe(platform));

  it('tells the kinds apart', () => {
    const cls = (text: string): string => `3c${text.length.toString(16).padStart(2, '0')}${hexOf(utf8(text))}`;
    expect(client(`350101 ${cls('PXEClient:Arch:00007:UNDI:003016')} ff`)).toMatchObject({ kind: 'pxe', platform: 'efi-x64' });
    expect(client(`350101 ${cls('HTTPClient:Arch:00016:UNDI:003001')} ff`)).toMatchObject({ kind: 'http', platform: 'efi-x64' });
    expect(client(`350101 ${cls('PXEClient')} 4d0469505845 ff`)).toMatchObject({ kind: 'ipxe' });
    expect(client(`350101 af03130101 ff`)).toMatchObject({ kind: 'ipxe' });
    expect(client(`350101 ${cls('udhcp 1.35.0')} ff`)).toMatchObject({ kind: 'dhcp' });
    expect(client('ff')).toMatchObject({ kind: 'bootp' });
  });
});
