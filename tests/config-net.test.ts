import { describe, expect, it } from 'vitest';
import { checkOptions, type VMOptions } from '../src/config.js';
import { guestNetWord } from '../src/config-net.js';
import { formatMac } from '../src/net/address.js';
import { allocateMac } from '../src/vm-network.js';

const check = (options: VMOptions) => checkOptions(options);

describe('network options', () => {
  it('are none by default', () => {
    expect(check({})).toMatchObject({ net: undefined, nics: [], pcap: undefined });
    expect(check({ net: 'none' })).toMatchObject({ net: undefined, nics: [] });
    expect(guestNetWord([])).toBeUndefined();
  });

  it('give a network one card unless cards are named', () => {
    const config = check({ net: 'user,restrict,allow=127.0.0.1:80,subnet=10.9.0.0/24', publish: ['127.0.0.1:0:80'] });
    expect(config.net).toEqual({ restrict: true, allow: ['127.0.0.1:80'], subnet: '10.9.0.0/24', publish: ['127.0.0.1:0:80'] });
    expect(config.nics).toEqual([{ model: 'virtio', mac: undefined, connect: 'user', rom: undefined, address: 'dhcp' }]);
    expect(guestNetWord(config.nics)).toBe('vmlet.net=dhcp');
    const two = check({ net: 'user', nics: [{ mac: '52:54:00:00:00:01' }, { connect: 'none', address: '10.1.0.2/24,10.1.0.1' }] });
    expect(two.nics.map(({ connect }) => connect)).toEqual(['user', 'none']);
    expect(guestNetWord(two.nics)).toBe('vmlet.net=dhcp,10.1.0.2/24@10.1.0.1');
  });

  it.each<[string, VMOptions, RegExp]>([
    ['an unknown network', { net: 'bridge' }, /'bridge' is not known/],
    ['an unknown word', { net: 'user,fast' }, /'fast' is not known/],
    ['a subnet that is none', { net: 'user,subnet=10.0.0.0/30' }, /no subnet for guests/],
    ['a destination that is none', { net: 'user,allow=somewhere' }, /'somewhere' is not a destination/],
    ['a port that is none', { net: 'user', publish: ['80'] }, /'80' is not a port to publish/],
    ['a guest elsewhere', { net: 'user', publish: ['8080:10.1.1.1:80'] }, /not in 10\.0\.2\.0\/24/],
    ['ports without a network', { publish: ['8080:80'] }, /no network/],
    ['a capture without a card', { pcap: 'x.pcapng' }, /no network card/],
    ['a card without a network', { nics: [{ connect: 'user' }] }, /there is none/],
    ['an unknown card', { net: 'user', nics: [{ model: '3c509' as never }] }, /no network card '3c509'/],
    ['an address that is none', { net: 'user', nics: [{ mac: '52:54' }] }, /no MAC address/],
    ['a group address', { net: 'user', nics: [{ mac: '01:00:5e:00:00:01' }] }, /one station/],
    ['an address twice', { net: 'user', nics: [{ mac: '52:54:00:00:00:01' }, { mac: '52-54-00-00-00-01' }] }, /two cards/],
    ['a setting that is none', { net: 'user', nics: [{ address: '10.0.0.1' }] }, /no way to set up a card/],
    ['a ROM that is not there', { net: 'user', nics: [{ rom: '/nowhere/rom' }] }, /cannot read the option ROM/],
    ['too many cards', { net: 'user', nics: Array.from({ length: 9 }, () => ({})) }, /up to 8/],
  ])('refuse %s', (_, options, message) => {
    expect(() => check(options)).toThrow(message);
  });
});

describe('MAC addresses', () => {
  it('are a hash of seed, machine and index, and never given twice', () => {
    const give = (seed: number, machine: string, index: number, taken = new Set<string>()) => formatMac(allocateMac(seed, machine, index, taken));
    expect(give(1, 'vm', 0)).toBe(give(1, 'vm', 0));
    expect(new Set([give(1, 'vm', 0), give(2, 'vm', 0), give(1, 'vm', 1), give(1, 'a', 0)]).size).toBe(4);
    expect(give(1, 'vm', 0)).toMatch(/^52:54:00:/);
    const first = give(1, 'vm', 0);
    const taken = new Set([first]);
    const second = give(1, 'vm', 0, taken);
    expect(second).not.toBe(first);
    expect(taken).toEqual(new Set([first, second]));
  });
});
