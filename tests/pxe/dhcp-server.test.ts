import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/host/clock.js';
import { blankDhcp, decodeDhcp, dhcpType, encodeDhcp, OPT, typeOption, type DhcpMessage, type DhcpType } from '../../src/pxe/dhcp/codec.js';
import { DhcpServer, hardwareClientId, type DhcpReply, type DhcpServerOptions } from '../../src/pxe/dhcp/server.js';
import { optionAddress, optionText, optionU32 } from '../../src/pxe/dhcp/options.js';
import { PxeJournal } from '../../src/pxe/log.js';
import { ipv4Bytes, utf8, u16, hexOf } from '../../src/pxe/bytes.js';
import type { Booter } from '../../src/pxe/booter.js';
import { Random } from '../support/random.js';

const SERVER = '10.0.0.1';
const SUBNET = { network: '10.0.0.0', prefix: 24, pool: [{ from: '10.0.0.10', to: '10.0.0.19' }], router: '10.0.0.1', dns: ['10.0.0.1'], leaseSeconds: 600 };
const macOf = (n: number): Uint8Array => Uint8Array.of(0x52, 0x54, 0, n >> 16, n >> 8, n);
const FROM = { address: '0.0.0.0', port: 68 };
const booter: Booter = { decide: client => (client.kind === 'dhcp' ? { boot: 'refuse', reason: 'no' } : { boot: 'file', file: 'pxelinux.0' }) };

const lab = (options: Partial<DhcpServerOptions> = {}) => {
  const clock = (options.clock as ManualClock | undefined) ?? new ManualClock();
  const journal = new PxeJournal();
  const server = new DhcpServer({ clock, address: SERVER, subnets: [SUBNET], log: journal, booter, ...options });
  const send = (message: DhcpMessage, channel: 'lease' | 'boot' = 'lease', from = FROM): DhcpReply | undefined => server.handle(from, encodeDhcp(message, 1472).bytes, channel);
  const make = (type: DhcpType, mac: number, extra: [number, Uint8Array][] = [], change: Partial<DhcpMessage> = {}): DhcpMessage => ({
    ...blankDhcp('request', macOf(mac), 0x1000 + mac),
    options: new Map([[OPT.messageType, typeOption(type)], ...extra]),
    ...change,
  });
  const discover = (mac: number, extra: [number, Uint8Array][] = [], change: Partial<DhcpMessage> = {}) => send(make('DISCOVER', mac, extra, change));
  const request = (mac: number, address: string, extra: [number, Uint8Array][] = [], change: Partial<DhcpMessage> = {}) =>
    send(make('REQUEST', mac, [[OPT.serverId, ipv4Bytes(SERVER)], [OPT.requestedAddress, ipv4Bytes(address)], ...extra], change));
  const bind = (mac: number, extra: [number, Uint8Array][] = []): string => {
    const offered = discover(mac, extra)?.message.yiaddr ?? 'nothing';
    const ack = request(mac, offered, extra);
    return ack && dhcpType(ack.message) === 'ACK' ? ack.message.yiaddr : 'nothing';
  };
  const last = () => journal.events.at(-1);
  return { clock, journal, server, send, make, discover, request, bind, last };
};

const pxe = (architecture = 0): [number, Uint8Array][] => [
  [OPT.vendorClass, utf8(`PXEClient:Arch:${String(architecture).padStart(5, '0')}:UNDI:002001`)],
  [OPT.architecture, u16(architecture)],
  [OPT.guid, new Uint8Array(17)],
  [OPT.parameters, Uint8Array.of(1, 3, 66, 67)],
];

describe('DHCP leases', () => {
  it('discover, offer, request, acknowledge', () => {
    const { discover, request } = lab();
    const offer = discover(1)!;
    expect(dhcpType(offer.message)).toBe('OFFER');
    expect(offer.message.yiaddr).toBe('10.0.0.10');
    expect(offer).toMatchObject({ to: { address: '10.0.0.10', port: 68 }, mac: '52:54:00:00:00:01' });
    expect(optionU32(offer.message.options, OPT.leaseTime)).toBe(600);
    const ack = request(1, '10.0.0.10')!;
    expect(dhcpType(ack.message)).toBe('ACK');
    expect(optionAddress(ack.message.options, OPT.router)).toBe('10.0.0.1');
    expect(optionU32(ack.message.options, OPT.renewal)).toBe(300);
    expect(optionU32(ack.message.options, OPT.rebinding)).toBe(525);
    expect(ack.bytes.length).toBeGreaterThanOrEqual(300);
  });

  it('answers by broadcast to those who ask for it, and where the wiring knows no hardware addresses', () => {
    expect(lab().discover(1, [], { broadcast: true })!.to).toEqual({ address: '255.255.255.255', port: 68 });
    expect(lab({ unicastByMac: false }).discover(1)!.to).toEqual({ address: '255.255.255.255', port: 68 });
    expect(lab({ unicastByMac: false, clientPort: 1068 }).discover(1)!.to.port).toBe(1068);
  });

  it('keeps a client on its address, also after the lease, and gives away the oldest when it must', () => {
    const { bind, clock, request, discover } = lab();
    const addresses = Array.from({ length: 10 }, (_, i) => bind(i + 1));
    expect(new Set(addresses).size).toBe(10);
    expect(bind(3)).toBe(addresses[2]);
    expect(discover(99)).toBeUndefined();
    clock.advance(400e9);
    request(1, addresses[0]);
    clock.advance(300e9);
    expect(bind(5)).toBe(addresses[4]);
    expect(bind(99)).toBe(addresses[1]);
    expect(bind(1)).toBe(addresses[0]);
  });

  it('honours the requested address when it is free, and the reservation always', () => {
    const { discover, bind, last } = lab({ reservations: [{ mac: '52-54-00-00-00-07', address: '10.0.0.77', hostname: 'seven' }, { clientId: 'ff01', address: '10.0.0.12' }] });
    expect(discover(1, [[OPT.requestedAddress, ipv4Bytes('10.0.0.15')]])!.message.yiaddr).toBe('10.0.0.15');
    expect(discover(2, [[OPT.requestedAddress, ipv4Bytes('10.0.0.15')]])!.message.yiaddr).toBe('10.0.0.10');
    expect(discover(3, [[OPT.requestedAddress, ipv4Bytes('10.0.0.12')]])!.message.yiaddr).toBe('10.0.0.11');
    expect(optionText(discover(7)!.message.options, OPT.hostname)).toBe('seven');
    expect(bind(7)).toBe('10.0.0.77');
    expect(bind(8, [[OPT.clientId, Uint8Array.of(0xff, 1)]])).toBe('10.0.0.12');
    expect(discover(9, [[OPT.clientId, Uint8Array.of(0xff, 1)]])!.message.yiaddr).toBe('10.0.0.12');
    expect(last()).toMatchObject({ outcome: 'served' });
  });

  it('gives one machine one address through ROM, loader and system, though their client ids differ', () => {
    const { bind } = lab();
    const rom = bind(1, [...pxe(), [OPT.clientId, new Uint8Array(17)]]);
    expect(bind(1, [[OPT.userClass, utf8('iPXE')]])).toBe(rom);
    expect(bind(1, [[OPT.clientId, hardwareClientId(macOf(1))]])).toBe(rom);
    expect(bind(1, [...pxe(), [OPT.clientId, new Uint8Array(17)]])).toBe(rom);
  });

  it('tells two systems with one hardware address apart by client id', () => {
    const { bind } = lab();
    const a = bind(1, [[OPT.clientId, utf8('\0a')]]);
    expect(bind(1, [[OPT.clientId, utf8('\0b')]])).not.toBe(a);
  });

  it('echoes the client id (RFC 6842) and the relay information, last', () => {
    const { discover } = lab();
    const offer = discover(1, [[OPT.clientId, utf8('xyz')], [OPT.relayAgent, Uint8Array.of(1, 1, 7)]], { giaddr: '10.0.0.2', hops: 1 })!;
    expect(offer.message.options.get(OPT.clientId)).toEqual(utf8('xyz'));
    expect([...offer.message.options.keys()].at(-1)).toBe(OPT.relayAgent);
    expect(offer.to).toEqual({ address: '10.0.0.2', port: 67 });
  });

  it('serves other subnets through relays, and says so when a relay is unknown', () => {
    const other = { network: '192.168.7.0', prefix: 24, pool: [{ from: '192.168.7.10', to: '192.168.7.20' }] };
    const { discover, last } = lab({ subnets: [SUBNET, other] });
    expect(discover(1, [], { giaddr: '192.168.7.1' })!.message.yiaddr).toBe('192.168.7.10');
    expect(discover(1, [[OPT.relayAgent, Uint8Array.of(5, 4, 192, 168, 7, 0)]], { giaddr: '172.16.0.1' })!.message.yiaddr).toBe('192.168.7.10');
    expect(discover(2, [], { giaddr: '172.16.0.1' })).toBeUndefined();
    expect(last()).toMatchObject({ outcome: 'ignored', reason: 'it comes through the relay 172.16.0.1, which is in no subnet of ours' });
  });

  it('renews, rebinds and reboots', () => {
    const { bind, send, make, clock } = lab();
    const address = bind(1);
    clock.advance(300e9);
    const renewed = send(make('REQUEST', 1, [], { ciaddr: address }), 'lease', { address, port: 68 })!;
    expect(dhcpType(renewed.message)).toBe('ACK');
    expect(renewed.to).toEqual({ address, port: 68 });
    const rebooted = send(make('REQUEST', 1, [[OPT.requestedAddress, ipv4Bytes(address)]]))!;
    expect(dhcpType(rebooted.message)).toBe('ACK');
    const moved = send(make('REQUEST', 1, [[OPT.requestedAddress, ipv4Bytes('192.168.1.5')]]))!;
    expect(dhcpType(moved.message)).toBe('NAK');
    expect(moved.to.address).toBe('255.255.255.255');
    expect(optionText(moved.message.options, OPT.message)).toBe('192.168.1.5 does not belong to 10.0.0.0/24');
    const behind = send(make('REQUEST', 1, [[OPT.requestedAddress, ipv4Bytes('192.168.1.5')]], { giaddr: '10.0.0.3' }))!;
    expect(behind).toMatchObject({ to: { address: '10.0.0.3', port: 67 }, message: { broadcast: true } });
  });

  it('refuses an address that is another client\'s, and one that was not offered', () => {
    const { bind, request, last } = lab();
    const address = bind(1);
    expect(dhcpType(request(2, address)!.message)).toBe('NAK');
    expect(last()).toMatchObject({ outcome: 'refused', reason: `${address} is in use by another client` });
    expect(dhcpType(request(2, '10.0.0.16')!.message)).toBe('NAK');
  });

  it('is silent about unknown clients unless it is authoritative', () => {
    const { send, make, last } = lab({ authoritative: false });
    expect(send(make('REQUEST', 1, [[OPT.requestedAddress, ipv4Bytes('10.0.0.15')]]))).toBeUndefined();
    expect(send(make('REQUEST', 1, [[OPT.requestedAddress, ipv4Bytes('192.168.0.15')]]))).toBeUndefined();
    expect(last()!.reason).toMatch(/we do not know the client/);
    const own = lab();
    expect(dhcpType(own.send(own.make('REQUEST', 1, [[OPT.requestedAddress, ipv4Bytes('10.0.0.15')]]))!.message)).toBe('ACK');
  });

  it('takes the hint when a client chooses another server', () => {
    const { discover, request, server, last } = lab();
    discover(1);
    expect(server.leases.size).toBe(1);
    expect(request(1, '10.0.0.200', [[OPT.serverId, ipv4Bytes('10.0.0.250')]])).toBeUndefined();
    expect(server.leases.size).toBe(0);
    expect(last()).toMatchObject({ outcome: 'note', reason: 'the client took the offer of another server, 10.0.0.250' });
  });

  it('puts a declined address aside and frees a released one', () => {
    const { bind, send, make, clock } = lab({ subnets: [{ ...SUBNET, pool: [{ from: '10.0.0.10', to: '10.0.0.11' }] }] });
    expect(bind(1)).toBe('10.0.0.10');
    send(make('DECLINE', 2, [[OPT.requestedAddress, ipv4Bytes('10.0.0.10')]]));
    expect(bind(1)).toBe('10.0.0.10');
    send(make('DECLINE', 1, [[OPT.requestedAddress, ipv4Bytes('10.0.0.10')]]));
    expect(bind(1)).toBe('10.0.0.11');
    expect(bind(2)).toBe('nothing');
    send(make('RELEASE', 1, [], { ciaddr: '10.0.0.11' }));
    expect(bind(2)).toBe('10.0.0.11');
    clock.advance(601e9);
    expect(bind(1)).toBe('10.0.0.10');
  });

  it('informs those who have an address', () => {
    const { send, make } = lab();
    const ack = send(make('INFORM', 1, [], { ciaddr: '10.0.0.200' }), 'lease', { address: '10.0.0.200', port: 68 })!;
    expect(ack.message).toMatchObject({ yiaddr: '0.0.0.0' });
    expect(ack.message.options.has(OPT.leaseTime)).toBe(false);
    expect(ack.to).toEqual({ address: '10.0.0.200', port: 68 });
    expect(send(make('INFORM', 1, [], { ciaddr: '198.51.100.1' }))).toBeUndefined();
  });

  it('serves BOOTP clients, for ever', () => {
    const { send, clock, server } = lab();
    const bootp = (mac: number, magic: boolean) => send({ ...blankDhcp('request', macOf(mac), 5), magic });
    const reply = bootp(1, false)!;
    expect(reply.message).toMatchObject({ yiaddr: '10.0.0.10', file: 'pxelinux.0', siaddr: SERVER, magic: false });
    expect(reply.bytes.length).toBe(300);
    const vendor = bootp(2, true)!.message;
    expect(vendor.options.has(OPT.messageType)).toBe(false);
    expect(optionAddress(vendor.options, OPT.subnetMask)).toBe('255.255.255.0');
    clock.advance(1e15);
    expect(server.leases.held(clock.now)).toBe(2);
  });

  it('ends an offer that nobody takes', () => {
    const { discover, clock } = lab({ subnets: [{ ...SUBNET, pool: [{ from: '10.0.0.10', to: '10.0.0.10' }] }] });
    expect(discover(1)).toBeDefined();
    expect(discover(2)).toBeUndefined();
    clock.advance(61e9);
    expect(discover(2)!.message.yiaddr).toBe('10.0.0.10');
  });

  it('survives a restart with its leases, whose ends are told in the time of the world', () => {
    const storage = { text: undefined as string | undefined, load: () => storage.text, save: (text: string) => (storage.text = text) };
    const first = lab({ storage, epochAtZero: 1_700_000_000 });
    const address = first.bind(1, [[OPT.clientId, utf8('id')], [OPT.hostname, utf8('a\tb name')]]);
    first.bind(2);
    first.discover(3);
    expect(storage.text!.split('\n').length).toBe(4);
    const second = lab({ storage: { load: () => `${storage.text}rubbish\n10.0.0.15\t\n`, save: () => {} }, epochAtZero: 1_700_000_300 });
    expect(second.journal.events.map(event => event.reason)).toEqual(['line 4 of the lease file makes no sense', 'line 5 of the lease file makes no sense']);
    expect(second.server.leases.at(address)).toMatchObject({ state: 'bound', untilNs: 300e9, clientId: hexOf(utf8('id')), hostname: 'a?b name' });
    expect(second.discover(4)!.message.yiaddr).toBe('10.0.0.12');
    expect(second.bind(1, [[OPT.clientId, utf8('id')]])).toBe(address);
  });

  it('does not acknowledge what it could not write down', () => {
    const { discover, request, last } = lab({ storage: { load: () => undefined, save: () => { throw new Error('the disk is full'); } } });
    discover(1);
    expect(request(1, '10.0.0.10')).toBeUndefined();
    expect(last()).toMatchObject({ outcome: 'failed', reason: 'the disk is full' });
  });

  it('refuses configurations that make no sense', () => {
    const make = (options: Partial<DhcpServerOptions>) => () => lab(options);
    expect(make({ subnets: [{ ...SUBNET, prefix: 33 }] })).toThrow(/not a subnet/);
    expect(make({ subnets: [{ ...SUBNET, pool: [{ from: '10.0.0.20', to: '10.0.0.10' }] }] })).toThrow(/not a range/);
    expect(make({ subnets: [SUBNET, { network: '10.0.0.128', prefix: 25 }] })).toThrow(/overlap/);
    expect(make({ reservations: [{ address: '10.0.0.5' }] })).toThrow(/for nobody/);
    expect(make({ reservations: [{ address: '10.1.0.5', mac: '52:54:00:00:00:01' }] })).toThrow(/in no subnet/);
  });
});

describe('DHCP limits', () => {
  it('caps leases, and those who have one keep it', () => {
    const pool = [{ from: '10.0.0.1', to: '10.0.255.254' }];
    const { bind, discover, last, clock } = lab({ subnets: [{ ...SUBNET, prefix: 16, pool, leaseSeconds: 100_000 }] });
    for (let i = 1; i <= 1000; i++) expect(bind(i)).not.toBe('nothing');
    expect(discover(5000)).toBeUndefined();
    expect(last()).toMatchObject({ outcome: 'refused', reason: '1000 addresses are given out, which is the limit' });
    clock.advance(10e9);
    expect(bind(17)).not.toBe('nothing');
  });

  it('recovers from starvation: random hardware addresses hold offers for a minute only, a bounded number of them', () => {
    const { discover, server, clock, last, bind } = lab({ subnets: [{ ...SUBNET, prefix: 16, pool: [{ from: '10.0.1.0', to: '10.0.255.254' }] }] });
    bind(1);
    for (let i = 0; i < 5000; i++) discover(100_000 + i);
    expect(server.leases.held(clock.now, 'offered')).toBe(64);
    expect(last()!.reason).toBe('64 offers wait for an answer, which is the limit');
    expect(bind(1)).not.toBe('nothing');
    clock.advance(61e9);
    expect(bind(2)).not.toBe('nothing');
    for (let round = 0; round < 80; round++) {
      for (let i = 0; i < 64; i++) discover(200_000 + round * 64 + i);
      clock.advance(61e9);
    }
    expect(server.leases.size).toBeLessThanOrEqual(4000 + 64);
  });

  it('answers one hardware address so many times a second, holds so many addresses for it, hears so many conflicts', () => {
    const flood = lab();
    let replies = 0;
    for (let i = 0; i < 100; i++) if (flood.discover(1)) replies++;
    expect(replies).toBe(20);
    const ids = lab();
    const got = Array.from({ length: 6 }, (_, i) => ids.bind(1, [[OPT.clientId, utf8(`id${i}`)]]));
    expect(got.filter(address => address !== 'nothing').length).toBe(4);
    const decliner = lab();
    for (let i = 0; i < 6; i++) {
      const address = decliner.bind(1);
      decliner.send(decliner.make('DECLINE', 1, [[OPT.requestedAddress, ipv4Bytes(address)]]));
      decliner.clock.advance(1e9);
    }
    expect(decliner.server.leases.held(decliner.clock.now, 'declined')).toBe(3);
  });

  it('answers no replies, no servers\' messages, nothing that went in circles, and survives rubbish', () => {
    const { send, make, server, clock } = lab();
    expect(send({ ...make('DISCOVER', 1), op: 'reply' })).toBeUndefined();
    expect(send(make('OFFER', 1))).toBeUndefined();
    expect(send(make('DISCOVER', 1, [], { hops: 17 }))).toBeUndefined();
    expect(send(make('DISCOVER', 1, [], { chaddr: new Uint8Array(0) }))).toBeUndefined();
    const random = new Random(3);
    for (let i = 0; i < 3000; i++) {
      const bytes = encodeDhcp(make(random.pick(['DISCOVER', 'REQUEST', 'DECLINE', 'RELEASE', 'INFORM']), random.below(50), [[OPT.requestedAddress, ipv4Bytes('10.0.0.12')], ...pxe()])).bytes;
      for (let k = random.below(12); k > 0; k--) bytes[random.below(bytes.length)] = random.below(256);
      const reply = server.handle(FROM, bytes.subarray(0, random.below(5) === 0 ? random.below(bytes.length) : bytes.length), random.pick(['lease', 'boot']));
      if (reply) expect(decodeDhcp(reply.bytes).ok).toBe(true);
      clock.advance(1e8);
    }
  });
});

describe('boot answers', () => {
  it('gives a BIOS ROM the file at once', () => {
    const { discover } = lab();
    const { message } = discover(1, pxe())!;
    expect(message).toMatchObject({ siaddr: SERVER, sname: SERVER, file: 'pxelinux.0' });
    expect(optionText(message.options, OPT.vendorClass)).toBe('PXEClient');
    expect(hexOf(message.options.get(OPT.vendor)!)).toBe('060108ff');
    expect(message.options.get(OPT.guid)).toEqual(new Uint8Array(17));
    expect(optionText(message.options, OPT.bootFile)).toBe('pxelinux.0');
    expect(optionText(message.options, OPT.tftpServer)).toBe(SERVER);
  });

  it('serves ROMs that send no option 97', () => {
    const { discover } = lab();
    const { message } = discover(1, pxe().filter(([code]) => code !== OPT.guid))!;
    expect(message.options.has(OPT.guid)).toBe(false);
    expect(message.file).toBe('pxelinux.0');
  });

  it('gives HTTP clients an URL and their class', () => {
    const url = 'http://10.0.0.1/boot.efi';
    const { discover } = lab({ booter: { decide: () => ({ boot: 'file', file: url }) } });
    const { message } = discover(1, [[OPT.vendorClass, utf8('HTTPClient:Arch:00016:UNDI:003001')]])!;
    expect(optionText(message.options, OPT.vendorClass)).toBe('HTTPClient');
    expect(optionText(message.options, OPT.bootFile)).toBe(url);
    expect(message.file).toBe('');
  });

  it('tells iPXE not to wait for a ProxyDHCP server, without a boot file where there can be no other server', () => {
    const option = (options: Partial<DhcpServerOptions>, userClass: string) => lab({ booter: undefined, ...options }).discover(1, [[OPT.userClass, utf8(userClass)]])!.message.options.get(OPT.etherboot);
    expect(option({}, 'iPXE')).toBeUndefined();
    expect(hexOf(option({ alone: true }, 'iPXE')!)).toBe('b00101');
    expect(option({ alone: true }, 'other')).toBeUndefined();
    const { discover } = lab();
    expect(hexOf(discover(1, [[OPT.userClass, utf8('iPXE')]])!.message.options.get(OPT.etherboot)!)).toBe('b00101');
  });

  it('puts long names into option 67 and PXELINUX\'s options beside', () => {
    const file = `${'long/'.repeat(30)}loader`;
    const { discover } = lab({ booter: { decide: () => ({ boot: 'file', file, pxelinux: { config: 'c', prefix: 'p/', rebootS: 30 } }) } });
    const { options } = discover(1, pxe())!.message;
    expect(optionText(options, OPT.bootFile)).toBe(file);
    expect(optionText(options, OPT.pxelinuxConfig)).toBe('c');
    expect(optionU32(options, OPT.pxelinuxReboot)).toBe(30);
    expect(hexOf(options.get(OPT.pxelinuxMagic)!)).toBe('f100747e');
  });

  it('says in the log why a client gets an address but no file', () => {
    const { discover, last } = lab({ booter: { decide: () => ({ boot: 'refuse', reason: 'no boot rule matches' }) } });
    expect(discover(1, pxe())!.message.file).toBe('');
    expect(last()!.reason).toBe('is offered 10.0.0.10 but no boot file: no boot rule matches');
  });

  it('as ProxyDHCP: a BIOS gets the file in the offer, UEFI at port 4011', () => {
    const { discover, send, make, last, request } = lab({ mode: 'proxy', subnets: [] });
    const bios = discover(1, pxe())!;
    expect(bios.message).toMatchObject({ yiaddr: '0.0.0.0', file: 'pxelinux.0' });
    expect(bios.message.options.has(OPT.leaseTime)).toBe(false);
    expect(bios.to).toEqual({ address: '255.255.255.255', port: 68 });
    const uefi = discover(2, pxe(7))!;
    expect(uefi.message).toMatchObject({ yiaddr: '0.0.0.0', file: '' });
    expect(uefi.message.options.has(OPT.vendor)).toBe(false);
    expect(optionText(uefi.message.options, OPT.vendorClass)).toBe('PXEClient');
    const item = Uint8Array.of(71, 4, 0, 0, 0, 0, 255);
    const ack = send(make('REQUEST', 2, [...pxe(7), [OPT.vendor, item]], { ciaddr: '10.0.0.50' }), 'boot', { address: '10.0.0.50', port: 4011 })!;
    expect(dhcpType(ack.message)).toBe('ACK');
    expect(ack.message.file).toBe('pxelinux.0');
    expect(hexOf(ack.message.options.get(OPT.vendor)!)).toBe('060108470400000000ff');
    expect(ack.to).toEqual({ address: '10.0.0.50', port: 4011 });
    expect(discover(3)).toBeUndefined();
    expect(last()!.reason).toBe('a ProxyDHCP server answers PXE clients only');
    expect(request(1, '10.0.0.50')).toBeUndefined();
  });
});
