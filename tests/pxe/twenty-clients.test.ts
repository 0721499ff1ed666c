// Twenty Debian guests boot at once from one server in one lab. Three minutes of CPU and 2.3 GB: asked for by VMLET_TEST_TWENTY=1.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { resolveImage } from '../../src/image/index.js';
import { cli } from '../support/cli.js';
import { canBoot } from '../support/guest-images.js';

const folder = mkdtempSync(join(tmpdir(), 'vmlet-twenty-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const LOADER = '/usr/lib/PXELINUX/pxelinux.0';
const MODULE = '/usr/lib/syslinux/modules/bios/ldlinux.c32';

describe('twenty clients at once', () => {
  it('each by PXELINUX to its shell, with an address and a name of its own', { timeout: 1_800_000 }, async ctx => {
    if (process.env.VMLET_TEST_TWENTY !== '1') return ctx.skip('it takes three minutes of CPU: set VMLET_TEST_TWENTY=1');
    if (!canBoot('i386')) return ctx.skip('the image i386 is not in the cache: vmlet image pull i386');
    if (!existsSync(LOADER) || !existsSync(MODULE)) return ctx.skip('PXELINUX is not there: packages pxelinux, syslinux-common');
    const { kernel, initrd, cmdline } = await resolveImage('i386');
    mkdirSync(join(folder, 'tftp'));
    for (const [from, to] of [[LOADER, 'pxelinux.0'], [MODULE, 'ldlinux.c32'], [kernel.bzImage, 'vmlinuz'], [initrd, 'initrd.img']]) copyFileSync(from, join(folder, 'tftp', to));
    const lab = join(folder, 'lab.yaml');
    writeFileSync(lab, `
defaults: {memory: 48M, timeout: 10m}
switches: {lan: {subnet: 10.9.0.0/24, tftp: tftp}}
vms: {client: {boot: net, count: 20, nics: [{switch: lan}]}}
netboot: {rules: [{kernel: vmlinuz, initrd: [initrd.img], cmdline: "${cmdline} quiet panic=-1 vmlet.shell vmlet.net=dhcp", via: pxelinux}]}
tests:
  - name: to the shell
    vm: client
    wait:
      - {serial: "/root@client-\\\\d+:~# /"}
      - {send: "hostname; ip -4 -o addr show dev eth0\\n"}
      - {serial: "/client-(\\\\d+)\\\\s+2: eth0 +inet 10\\\\.9\\\\.0\\\\.\\\\d+/24/"}
`);
    const { code, stdout } = await cli(['lab', 'up', lab]);
    expect(stdout.match(/^ok \d+ - to the shell/gm), stdout).toHaveLength(20);
    expect(code).toBe(0);
  });
});
