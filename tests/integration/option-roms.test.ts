// iPXE's ROMs of Debian's package ipxe-qemu on each card: DHCP, a script and a loader by TFTP, a kernel.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { VM, type VMOptions } from '../../src/index.js';
import { plain } from '../../src/vm-serial.js';
import { cli } from '../support/cli.js';
import { hasTool, scratchFolder } from './guest-support.js';

const SEABIOS = '/usr/share/seabios/bios-256k.bin';
const ROMS = '/usr/lib/ipxe/qemu';
const FILES: Record<string, string> = { 'pxelinux.0': '/usr/lib/PXELINUX/pxelinux.0', 'ldlinux.c32': '/usr/lib/syslinux/modules/bios/ldlinux.c32', memtest: '/boot/memtest86+ia32.bin' };
const SCRIPT = '#!ipxe\necho the script runs on ${net0/ip} ${net0/mac} ${net0/chip}\nimgfetch big && imgstat && imgfree\nchain pxelinux.0\n';
const MAC = '52:54:00:12:34:56';
const CARDS = [
  { model: 'virtio', rom: 'pxe-virtio.rom', chip: 'virtio-net' },
  { model: 'e1000', rom: 'pxe-e1000.rom', chip: '82540em' },
  { model: 'rtl8139', rom: 'pxe-rtl8139.rom', chip: 'rtl8139' },
] as const;
const FIRMWARES: Record<string, { options: VMOptions; needs: Record<string, string> }> = {
  'the built-in BIOS': { options: {}, needs: {} },
  SeaBIOS: { options: { bios: SEABIOS }, needs: { seabios: SEABIOS } },
};
const PACKAGES: Record<string, string> = { 'ipxe-qemu': `${ROMS}/pxe-virtio.rom`, pxelinux: FILES['pxelinux.0'], 'syslinux-common': FILES['ldlinux.c32'], 'memtest86+': FILES.memtest };
const missing = (needs: Record<string, string>): string[] => Object.entries(needs).flatMap(([name, path]) => (existsSync(path) ? [] : [name]));

const folder = scratchFolder();
if (missing(PACKAGES).length === 0) {
  for (const [name, path] of Object.entries(FILES)) copyFileSync(path, join(folder, name));
  writeFileSync(join(folder, 'boot.ipxe'), SCRIPT);
  writeFileSync(join(folder, 'big'), new Uint8Array(300_000).fill(7));
  mkdirSync(join(folder, 'pxelinux.cfg'));
  writeFileSync(join(folder, 'pxelinux.cfg/default'), 'DEFAULT x\nLABEL x\n KERNEL memtest\n APPEND console=ttyS0,115200\n');
}

describe.skipIf(missing(PACKAGES).length > 0)(`netboot boot --rom (needs the Debian packages ${Object.keys(PACKAGES).join(', ')})`, { timeout: 300_000 }, () => {
  const boot = (...args: string[]) => cli(['netboot', 'boot', '--nic-model', 'e1000', '--rom', join(ROMS, 'pxe-e1000.rom'), '-m', '64M', '-T', '60s', ...args]);

  it('a kernel without a loader is loaded by iPXE itself', async () => {
    const { code, stdout, stderr } = await boot('--kernel', FILES.memtest, '--append', 'console=ttyS0,115200', '--expect', 'Memtest86+', '-v');
    expect(stdout).toMatch(/iPXE \(http:\/\/ipxe\.org\) 00:0\d\.0 C800 PCI2\.10 PnP PMM/);
    expect(stderr).toMatch(/DISCOVER: served[^\n]*boot\.ipxe by the kernel[^]*RRQ vmlinuz: served/);
    expect(code).toBe(0);
  });

  it('one that fails says how far it came and who refused it', async () => {
    const { code, stdout, stderr } = await boot('--tftp', folder, '--file', 'nothing.0');
    expect(stdout).toMatch(/nothing\.0\.+ No such file or directory/);
    expect(stderr).toMatch(/the network boot came as far as the stage 'dhcp'; the last refusal: tftp: [^\n]*RRQ nothing\.0: refused: there is no such file/);
    expect(code).toBe(255);
  });
});

const LKRN = '/boot/ipxe.lkrn';
describe.skipIf(!existsSync(LKRN))('ipxe.lkrn as a kernel (needs the Debian package ipxe)', { timeout: 300_000 }, () => {
  it('the BIOS starts it, it drives the card itself and gives up in the end', async () => {
    const model = 'rtl8139';
    const { code, stdout, stderr } = await cli(['netboot', 'boot', '--kernel', LKRN, '--append', 'dhcp && echo on ${net0/ip} by ${net0/chip} && exit', '--nic-model', model, '-m', '64M', '-T', '60s', '-v']);
    expect(stdout).toMatch(new RegExp(`Booting from the kernel from the network\\.[^]*iPXE initialising devices\\.\\.\\.ok[^]*on 10\\.0\\.2\\.15 by ${model}[^]*No bootable device`));
    expect(stderr).toContain('the guest halted its CPU');
    expect(code).toBe(255);
  });
});

describe.each(Object.keys(FIRMWARES))("iPXE's ROMs under %s", { timeout: 300_000 }, firmware => {
  const { options, needs } = FIRMWARES[firmware];
  const absent = missing({ ...PACKAGES, ...needs });

  it.skipIf(absent.length > 0).each(CARDS)(`$model: DHCP, a script by TFTP, PXELINUX, a kernel${absent.length === 0 ? '' : ` (needs the Debian packages ${absent.join(', ')})`}`, async ({ model, rom, chip }) => {
    const log: string[] = [];
    await using vm = await VM.start({
      memory: '64M', timeout: '60s', wallTimeout: '5m', netboot: { tftp: folder, file: 'boot.ipxe' }, nics: [{ model, mac: MAC, rom: join(ROMS, rom) }], onGuestLog: line => log.push(line), ...options,
    });
    await vm.screen.expect(/Memtest86\+ v\d/);
    const said = plain(vm.serial.text).replace(/\s+/g, ' ');
    expect(said).toContain(`${MAC} using ${chip} on 0000:00:0`);
    expect(said).toMatch(new RegExp(`the script runs on 10\\.0\\.2\\.15 ${MAC} ${chip} .*big : 300000 bytes .*PXELINUX .* Loading memtest\\.\\.\\. ok`));
    expect(vm.netboot!.story.join('\n')).toMatch(/REQUEST: served[^]*RRQ boot\.ipxe: served[^]*RRQ pxelinux\.0: served[^]*RRQ pxelinux\.cfg\/default: served[^]*RRQ memtest: served/);
    expect(log).toEqual([]);
  });

  const UNDIONLY = '/usr/lib/ipxe/undionly.kpxe';
  const lacking = [...absent, ...missing({ ipxe: UNDIONLY, 'grub-pc-bin': '/usr/lib/grub/i386-pc/pxe.mod' }), ...(hasTool('grub-mkimage') ? [] : ['grub-common'])];
  it.skipIf(lacking.length > 0)(`a script by HTTP, another iPXE on the first one's UNDI, and GRUB on the second one's${lacking.length === 0 ? '' : ` (needs the Debian packages ${lacking.join(', ')})`}`, async () => {
    const tree = join(folder, firmware);
    mkdirSync(join(tree, 'boot/grub'), { recursive: true });
    copyFileSync(UNDIONLY, join(tree, 'undionly.kpxe'));
    execFileSync('grub-mkimage', ['-O', 'i386-pc-pxe', '-o', join(tree, 'core.0'), '-p', '(pxe)/boot/grub', 'pxe', 'tftp', 'normal', 'configfile', 'echo', 'halt', 'net', 'boot']);
    writeFileSync(join(tree, 'boot/grub/grub.cfg'), 'echo hello from grub on $net_default_ip .\nhalt\n');
    const script = '#!ipxe\necho the script runs on ${net0/chip}\niseq ${net0/chip} undionly && chain tftp://${next-server}/core.0 ||\nchain tftp://${next-server}/undionly.kpxe\n';
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.end(script);
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const bios = typeof options.bios === 'string' ? ['--bios', options.bios] : [];
      const { code, stdout } = await cli(['netboot', 'boot', ...bios, '--rom', join(ROMS, 'pxe-e1000.rom'), '--nic-model', 'e1000', '--tftp', tree, '--http', `http://127.0.0.1:${port}/boot.ipxe`, '-m', '64M', '-T', '60s']);
      expect(stdout).toMatch(/the script runs on 82540em[^]*PXE->EB: !PXE at[^]*UNDI device is PCI 00:0\d\.0[^]*the script runs on undionly[^]*Welcome to GRUB![^]*hello from grub on 10\.0\.2\.15/);
      expect(asked).toEqual(['/boot.ipxe', '/boot.ipxe']);
      expect(code).toBe(0);
    } finally {
      server.close();
    }
  });
});
