// A child of bench:net: COUNT Debian guests boot at once from one server in one lab, each to its shell. Prints one JSON document.
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadDist } from './common.mjs';

const count = Number(process.argv[2]);
const { Lab } = await loadDist('index.js');
const { parseLab } = await loadDist('lab-file.js');
const { resolveImage } = await loadDist('image/index.js');
const folder = mkdtempSync(join(tmpdir(), 'vmlet-crowd-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const { kernel, initrd, cmdline } = await resolveImage('i386');
for (const [from, to] of [['/usr/lib/PXELINUX/pxelinux.0', 'pxelinux.0'], ['/usr/lib/syslinux/modules/bios/ldlinux.c32', 'ldlinux.c32'], [kernel.bzImage, 'vmlinuz'], [initrd, 'initrd.img']]) copyFileSync(from, join(folder, to));
const { definition } = parseLab(`
defaults: {memory: 48M}
switches: {lan: {subnet: 10.9.0.0/24, tftp: .}}
vms: {client: {boot: net, count: ${count}, nics: [{switch: lan}]}}
netboot: {rules: [{kernel: vmlinuz, initrd: [initrd.img], cmdline: "${cmdline} quiet panic=-1 vmlet.shell vmlet.net=dhcp", via: pxelinux}]}
`, join(folder, 'lab.yaml'));
const before = { rss: process.memoryUsage.rss(), cpu: process.cpuUsage(), ms: performance.now() };
const lab = await Lab.up(definition);
await Promise.all([...lab.vms.values()].map(vm => vm.serial.expect(/root@client-\d+:~# /, { timeout: '1h' })));
const cpu = process.cpuUsage(before.cpu);
const wallS = (performance.now() - before.ms) / 1000;
await lab.run('30s');
console.log(JSON.stringify({ perClientMb: (process.memoryUsage.rss() - before.rss) / 2 ** 20 / count, cpuS: (cpu.user + cpu.system) / 1e6, wallS }));
process.exit(0);
