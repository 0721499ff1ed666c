import { describe, expect, it } from 'vitest';
import { parseNetbootRules } from '../../src/pxe/rules-file.js';
import { parseYaml } from '../../src/yaml-source.js';

const parse = (text: string) => parseNetbootRules(parseYaml(text, 'rules.yaml'));

describe('boot rules in YAML', () => {
  it('reads all that a rule can say, with one value or several', () => {
    const { rules, subnets, reservations, mode, ipxeLoaders } = parse(`
mode: dhcp
ipxe: {bios: undionly.kpxe, efi-x64: ipxe.efi}
subnets:
  - {subnet: 10.9.0.0/24, router: 10.9.0.1, dns: 10.9.0.1, domain: lab.test}
  - {subnet: 10.10.0.77/24, pool: [10.10.0.20-10.10.0.30, 10.10.0.40], leaseSeconds: 300, mtu: 1400}
reservations:
  - {address: 10.9.0.5, mac: "52:54:00:12:34:56", hostname: box}
rules:
  - {name: a, match: {mac: "52:54:*", arch: [7, 9], platform: efi-x64, kind: pxe, uuid: "*", userClass: [x, y], features: [http]}, file: boot.efi, server: 10.9.0.2}
  - &k {kernel: vmlinuz, initrd: [a.gz, b.gz], cmdline: "quiet", via: pxelinux}
  - *k
  - {match: {hostname: 12}, local: true}
  - {deny: no, pxelinux: {config: c, rebootS: 5}}
`.replace('deny: no,', 'deny: "no",'));
    expect(mode).toBe('dhcp');
    expect(ipxeLoaders).toEqual({ bios: 'undionly.kpxe', 'efi-x64': 'ipxe.efi' });
    expect(subnets[0]).toMatchObject({ network: '10.9.0.0', prefix: 24, pool: [{ from: '10.9.0.16', to: '10.9.0.254' }], dns: ['10.9.0.1'] });
    expect(subnets[1]).toMatchObject({ network: '10.10.0.0', pool: [{ from: '10.10.0.20', to: '10.10.0.30' }, { from: '10.10.0.40', to: '10.10.0.40' }], mtu: 1400 });
    expect(reservations).toEqual([{ address: '10.9.0.5', mac: '52:54:00:12:34:56', clientId: undefined, hostname: 'box' }]);
    expect(rules).toHaveLength(5);
    expect(rules[0]).toMatchObject({ name: 'a', file: 'boot.efi', server: '10.9.0.2', match: { mac: ['52:54:*'], arch: [7, 9], platform: ['efi-x64'] } });
    expect(rules[2]).toMatchObject({ kernel: 'vmlinuz', initrd: ['a.gz', 'b.gz'], via: 'pxelinux' });
    expect(rules[3]).toMatchObject({ local: true, match: { hostname: ['12'] } });
    expect(parse('- {file: x}').rules).toHaveLength(1);
  });

  it.each<[string, RegExp]>([
    ['rules: [', /^rules\.yaml:1: /],
    ['', /it must be a map/],
    ['rules: {file: x}', /rules: it must be a list/],
    ['rules:\n - {fil: x}', /^rules\.yaml:2: rules\[0\]\.fil: there is no such field/],
    ['rules:\n - {match: {arch: x}, file: y}', /rules\[0\]\.match\.arch: it must be a number from 0 to 65535/],
    ['rules:\n - {match: {arch: 70000}, file: y}', /must be a number from 0 to 65535/],
    ['rules:\n - {match: {platform: uefi}, file: y}', /'uefi' is not known/],
    ['rules:\n - {match: {mac: 12}, file: y}', /rules\[0\]\.match\.mac|ok/],
    ['rules:\n - {match: {mac: "host.name"}, file: y}', /no pattern of a hardware address/],
    ['rules:\n - {match: {}}', /does not say what to boot/],
    ['rules:\n - {file: x, initrd: y}', /initrd: it belongs to a kernel/],
    ['rules:\n - {file: x, server: host}', /'host' is no IPv4 address/],
    ['rules:\n - {local: false}', /it can only be true/],
    ['rules:\n - {file: ""}', /a text that is not empty/],
    ['subnets: {subnet: 10.9.0.0}', /is no subnet/],
    ["subnets: {subnet: 10.9.0.0/31}", /is no subnet/],
    ['subnets: {subnet: 10.9.0.0/24, pool: 5}', /no range of addresses/],
    ['reservations: {mac: "1:2"}', /has no address/],
    ['reservations: {address: 10.9.0.5, mac: "1:2"}', /no hardware address/],
    ['mode: both', /'both' is not known/],
  ])('refuses %j with file, line and reason', (text, message) => {
    let said = 'ok';
    try {
      parse(text);
    } catch (error) {
      said = (error as Error).message;
      expect(error).toMatchObject({ code: 'ERR_VMLET_CONFIG' });
    }
    expect(said).toMatch(message);
  });

  it('bounds aliases', () => {
    const bomb = `a: &a [x, x]\n${Array.from({ length: 200 }, () => '- *a').join('\n')}`;
    expect(() => parse(bomb)).toThrow();
    expect(() => parse(`rules:\n - &r {file: x}\n${' - *r\n'.repeat(200)}`)).toThrow(/more than 100 uses of aliases/);
  });
});
