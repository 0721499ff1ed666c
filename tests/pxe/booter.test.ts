import { describe, expect, it } from 'vitest';
import { matchesPattern, type BootClient, type BootRule } from '../../src/pxe/booter.js';
import { RuleBooter, type RuleBooterOptions } from '../../src/pxe/rule-booter.js';
import { ipxeScript, pxelinuxConfig } from '../../src/pxe/scripts.js';
import { isRefusal, VirtualFiles } from '../../src/pxe/files.js';

const client = (change: Partial<BootClient> = {}): BootClient => ({
  mac: '52:54:00:12:34:56', architectures: [0], platform: 'bios', kind: 'pxe', userClasses: [], vendorClass: 'PXEClient:Arch:00000:UNDI:002001', giaddr: '0.0.0.0', ...change,
});
const ipxe = (features: string[] = [], change: Partial<BootClient> = {}): BootClient => client({ kind: 'ipxe', userClasses: ['iPXE'], ipxe: { features: new Set(features) }, ...change });
const decide = (rules: BootRule[], who: BootClient, options: Partial<RuleBooterOptions> = {}) => new RuleBooter({ rules, ...options }).decide(who);
const text = (files: VirtualFiles, path: string, address = '10.0.0.9'): string => {
  const file = files.open(path, { address, service: 'tftp' });
  if (isRefusal(file)) return file.reason;
  const into = new Uint8Array(file.size);
  file.read(0, into);
  return new TextDecoder().decode(into);
};

describe('patterns', () => {
  it.each([
    ['52:54:*', '52:54:00:12:34:56', true],
    ['*', '', true],
    ['a*c*e', 'abcde', true],
    ['a*c*e', 'abcd', false],
    ['A?C', 'abc', true],
    ['', 'a', false],
    ['**a', 'bba', true],
    [`${'*a'.repeat(30)}b`, 'a'.repeat(200), false],
  ])('%s on %s', (pattern, value, result) => expect(matchesPattern(pattern, value)).toBe(result));
});

describe('boot rules', () => {
  it('the first that matches decides, by everything a client tells', () => {
    const rules: BootRule[] = [
      { match: { mac: '52-54-00-12-34-99' }, file: 'mac' },
      { match: { uuid: '4c4c4544-*' }, file: 'uuid' },
      { match: { arch: [9] }, file: 'nine' },
      { match: { platform: 'efi-x64' }, file: 'x64.efi' },
      { match: { kind: 'http' }, file: 'http' },
      { match: { userClass: 'iPXE', features: ['http'] }, file: 'rich' },
      { match: { userClass: ['gPXE', 'iPXE'] }, file: 'poor' },
      { match: { vendorClass: '*UNDI:002001' }, file: 'undi' },
      { match: { circuitId: '00ff' }, file: 'port' },
      { match: { hostname: 'pc*' }, file: 'name' },
    ];
    const file = (who: BootClient) => decide(rules, who);
    expect(file(client({ mac: '52:54:00:12:34:99' }))).toMatchObject({ boot: 'file', file: 'mac', rule: 'rule 1' });
    expect(file(client({ uuid: '4c4c4544-004a-5110-8053-b9c04f4d3153' }))).toMatchObject({ file: 'uuid' });
    expect(file(client({ architectures: [9], platform: 'efi-x64' }))).toMatchObject({ file: 'nine' });
    expect(file(client({ architectures: [7], platform: 'efi-x64' }))).toMatchObject({ file: 'x64.efi' });
    expect(file(client({ kind: 'http', vendorClass: '' }))).toMatchObject({ file: 'http' });
    expect(file(ipxe(['http'], { vendorClass: '' }))).toMatchObject({ file: 'rich' });
    expect(file(ipxe([], { vendorClass: '' }))).toMatchObject({ file: 'poor' });
    expect(file(client())).toMatchObject({ file: 'undi' });
    expect(file(client({ vendorClass: '', relay: { circuitId: '00ff' } }))).toMatchObject({ file: 'port' });
    expect(file(client({ vendorClass: '', hostname: 'PC7' }))).toMatchObject({ file: 'name' });
  });

  it('every refusal has its reason', () => {
    expect(decide([], client())).toEqual({ boot: 'refuse', reason: 'there are no boot rules' });
    expect(decide([{ match: { arch: 7 }, file: 'x' }, { name: 'lab', match: { uuid: 'a*' }, file: 'y' }], client())).toEqual({
      boot: 'refuse',
      reason: 'no boot rule matches (rule 1: architecture 0 is not 7; lab: the client sends no uuid)',
    });
    expect(decide([{ match: { features: ['http'] }, file: 'x' }], ipxe(['tftp']))).toMatchObject({ reason: 'no boot rule matches (rule 1: iPXE without http)' });
    expect(decide([{ deny: 'under repair' }], client())).toMatchObject({ reason: 'rule 1: under repair' });
    expect(decide([{ local: true }], client())).toMatchObject({ boot: 'local' });
    expect(decide([{ kernel: 'vmlinuz' }], client())).toMatchObject({ boot: 'refuse', reason: 'rule 1 needs iPXE, and no iPXE loader is known for bios' });
    expect(decide([{ kernel: 'vmlinuz', via: 'pxelinux' }], client({ platform: 'efi-x64' }))).toMatchObject({ reason: 'rule 1: PXELINUX runs on a BIOS, the client is efi-x64' });
    expect(decide([{ ipxe: 'http://10.0.0.1/x.ipxe' }], ipxe(['tftp']))).toMatchObject({ reason: 'rule 1: this iPXE has no http, which http://10.0.0.1/x.ipxe needs' });
    expect(decide([{}], client())).toMatchObject({ boot: 'refuse' });
    expect(decide([{ file: 'x' }], client({ kind: 'dhcp' }))).toMatchObject({ boot: 'refuse' });
  });

  it('does not send iPXE into iPXE for ever', () => {
    const rules = [{ file: 'undionly.kpxe' }];
    expect(decide(rules, client())).toMatchObject({ boot: 'file' });
    expect(decide(rules, ipxe())).toMatchObject({ boot: 'refuse', reason: expect.stringContaining('again and again') });
    expect(decide([{ file: 'own-loader' }], ipxe(), { ipxeLoaders: { bios: 'own-loader' } })).toMatchObject({ boot: 'refuse' });
    expect(decide([{ match: { userClass: 'iPXE' }, file: 'ipxe.lkrn' }], ipxe())).toMatchObject({ boot: 'file' });
  });

  it('leads a kernel rule from the ROM over iPXE to the script', () => {
    const booter = new RuleBooter({ rules: [{ kernel: 'vmlinuz', initrd: ['initrd.gz'], cmdline: 'console=ttyS0' }], ipxeLoaders: { bios: 'undionly.kpxe', 'efi-x64': 'ipxe.efi' } });
    const files = new VirtualFiles();
    booter.files(files);
    expect(booter.decide(client({ address: '10.0.0.9' }))).toMatchObject({ file: 'undionly.kpxe', rule: 'rule 1 (iPXE first)' });
    expect(booter.decide(client({ platform: 'efi-x64' }))).toMatchObject({ file: 'ipxe.efi' });
    const decision = booter.decide(ipxe(['tftp'], { address: '10.0.0.9' }));
    expect(decision).toMatchObject({ file: 'vmlet/52-54-00-12-34-56/boot.ipxe' });
    expect(text(files, 'vmlet/52-54-00-12-34-56/boot.ipxe')).toContain('kernel /vmlinuz initrd=initrd.gz console=ttyS0 || goto failed');
    expect(text(files, 'autoexec.ipxe')).toContain('#!ipxe');
    expect(text(files, 'autoexec.ipxe', '10.0.0.10')).toBe('loaders probe for this name; there is nothing for this client');
    expect(text(files, 'vmlet/52-54-00-12-34-57/boot.ipxe')).toBe('nothing was generated for this client');
    expect(text(files, 'vmlet/52-54-00-12-34-56/other')).toBe('no such generated file');
  });

  it('leads a kernel rule to PXELINUX with a configuration of its own', () => {
    const booter = new RuleBooter({ rules: [{ kernel: 'vmlinuz', initrd: ['a', 'b'], cmdline: 'quiet', via: 'pxelinux' }] });
    const files = new VirtualFiles();
    booter.files(files);
    const decision = booter.decide(client({ address: '10.0.0.9' }));
    expect(decision).toMatchObject({ file: 'pxelinux.0', pxelinux: { config: '/vmlet/52-54-00-12-34-56/pxelinux.cfg' } });
    const config = 'DEFAULT vmlet\nPROMPT 0\nLABEL vmlet\n  KERNEL /vmlinuz\n  INITRD /a,/b\n  APPEND quiet\n';
    expect(text(files, '/vmlet/52-54-00-12-34-56/pxelinux.cfg')).toBe(config);
    for (const name of ['default', '01-52-54-00-12-34-56', '0A000009', '4c4c4544-004a-5110-8053-b9c04f4d3153']) expect(text(files, `pxelinux.cfg/${name}`)).toBe(config);
  });

  it('gives URLs to those who speak HTTP', () => {
    const options = { httpUrl: (path: string) => `http://10.0.0.1/${path}` };
    expect(decide([{ file: '/boot.efi' }], client({ kind: 'http' }), options)).toMatchObject({ file: 'http://10.0.0.1/boot.efi' });
    expect(decide([{ ipxe: 'x.ipxe' }], ipxe(['http']), options)).toMatchObject({ file: 'http://10.0.0.1/x.ipxe' });
    expect(decide([{ ipxe: 'x.ipxe' }], ipxe(['tftp']), options)).toMatchObject({ file: 'x.ipxe' });
    expect(decide([{ file: 'x' }], client(), options)).toMatchObject({ file: 'x' });
  });
});

describe('generated scripts', () => {
  it('frees images before a new try, names each initrd and tells the kernel the names', () => {
    const script = ipxeScript({ kernel: 'http://h/k?x', initrd: ['http://h/a/initrd.gz', 'http://h/b/initrd.gz', 'http://h/c?q=1 2'], cmdline: 'x\ny' });
    expect(script.split('\n')[0]).toBe('#!ipxe');
    expect(script.indexOf('imgfree')).toBeLessThan(script.indexOf('kernel '));
    expect(script).toContain('kernel http://h/k?x initrd=initrd.gz initrd=1-initrd.gz initrd=c x y || goto failed');
    expect(script).toContain('initrd --name 1-initrd.gz http://h/b/initrd.gz || goto failed');
  });

  it('cannot be led astray by line ends', () => {
    expect(ipxeScript({ kernel: 'k\nshell', cmdline: 'a\r\nreboot' })).not.toMatch(/^(shell|reboot)/m);
    expect(pxelinuxConfig({ kernel: 'k\n  APPEND evil' })).not.toMatch(/^ {2}APPEND/m);
  });
});
