// Rows of bench:net about booting from the network. A row is { name, needs(), run() }: run gives { value, unit, note? }.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, chmodSync, copyFileSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadDist } from './common.mjs';

const PXELINUX = '/usr/lib/PXELINUX/pxelinux.0';
const LDLINUX = '/usr/lib/syslinux/modules/bios/ldlinux.c32';
const FILE_BYTES = 64 * 2 ** 20;
const has = name => spawnSync('sh', ['-c', `PATH="$PATH:/usr/sbin:/sbin" command -v ${name}`]).status === 0;
const isHpa = name => has(name) && spawnSync(name, ['-V'], { encoding: 'utf8', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } }).stdout.includes('hpa');
const rate = seconds => ({ value: FILE_BYTES / 1e6 / seconds, unit: 'MB/s' });

let folder;
const scratch = () => {
  if (folder === undefined) {
    folder = mkdtempSync(join(tmpdir(), 'vmlet-bench-net-'));
    chmodSync(folder, 0o755);
    writeFileSync(join(folder, 'big'), Buffer.alloc(FILE_BYTES, 'tftp'));
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  }
  return folder;
};

const timed = async work => {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
};

/** Runs a program without blocking our event loop. */
const program = (path, args) =>
  new Promise((resolve, reject) => {
    const child = spawn(path, args, { cwd: scratch(), stdio: ['pipe', 'ignore', 'inherit'] });
    child.on('error', reject);
    child.on('close', status => (status === 0 ? resolve() : reject(new Error(`${path} ended with ${status}`))));
    child.stdin.end();
  });

const ourServer = async use => {
  const { FileTree } = await loadDist('host/backends/file-tree.js');
  const { RealtimeClock, UdpSocketHost } = await loadDist('host/backends/udp-socket.js');
  const { TftpServer } = await loadDist('pxe/tftp/server.js');
  const host = new UdpSocketHost('127.0.0.1');
  const clock = new RealtimeClock();
  const endpoint = await host.open(0);
  const server = new TftpServer({ host, clock, endpoint, files: new FileTree(scratch()), mtu: 65000 });
  try {
    return await use(endpoint.port);
  } finally {
    server.close();
    clock.close();
  }
};

const ourClient = async (port, options) => {
  const { RealtimeClock, UdpSocketHost } = await loadDist('host/backends/udp-socket.js');
  const { TftpDownload } = await loadDist('pxe/tftp/client.js');
  const clock = new RealtimeClock();
  const alive = setInterval(() => {}, 1000);
  try {
    return await timed(async () => {
      const result = await new Promise(resolve => new TftpDownload({ endpoint: new UdpSocketHost('127.0.0.1').bind(0), clock, server: { address: '127.0.0.1', port }, file: 'big', retries: 20, onDone: resolve, ...options }).start());
      if (!result.ok || result.bytes !== FILE_BYTES) throw new Error(`the transfer failed: ${result.reason}`);
    });
  } finally {
    clearInterval(alive);
    clock.close();
  }
};

const withTftpd = async use => {
  const port = 20_000 + (process.pid % 20_000);
  const child = spawn('/usr/sbin/in.tftpd', ['--foreground', '--address', `127.0.0.1:${port}`, '--user', 'nobody', '--secure', scratch()], { stdio: 'ignore' });
  const ended = new Promise(resolve => child.once('exit', resolve));
  try {
    // Our client asks again until the server is up; the row's own transfer is the next one.
    await ourClient(port, { blksize: 1468 });
    return await use(port);
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
};

const tftpHpa = port => timed(() => program('tftp', ['-m', 'binary', '127.0.0.1', String(port), '-c', 'get', 'big', 'got']));

/** A boot program that ends the run by a debug exit at its first instruction. */
const FIRST_INSTRUCTION = Uint8Array.of(0xb0, 0x10, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd);

const romMachine = async (files, rules, more = {}) => {
  const [{ Machine }, { VirtualClock }, { BootServer, NetbootClient }, { VirtualNetwork }, { loadCore }] = await Promise.all(
    ['host/machine.js', 'host/clock.js', 'vm-netboot.js', 'vm-network.js', 'vm-core.js'].map(loadDist),
  );
  const core = await loadCore();
  const clock = new VirtualClock();
  const server = new BootServer({ rules, files });
  const network = new VirtualNetwork({ clock, seed: 1, restrict: true, dhcp: server.dhcp });
  server.serve(network.gateway.host);
  const card = { mac: Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56), port: network.connect({ name: 'client' }) };
  const client = new NetbootClient({ card, clock, seed: 1, memoryBytes: 32 * 2 ** 20 });
  return new Machine({ core, memoryBytes: 32 * 2 ** 20, boot: { kind: 'firmware', order: ['net'] }, nics: [card], clock, debugExitPort: 0xf4, timeoutNs: 60e9, onFirmware: (firmware, machine) => client.install(firmware, machine), ...more });
};

const BOOT_BYTES = 40 * 2 ** 20;

/** Kernel and initrd of the built-in guest, 40 MB together: zeros behind an initrd are skipped. */
const guest = async () => {
  const { resolveImage } = await loadDist('image/resolve.js');
  const { kernel, initrd, cmdline } = await resolveImage('amd64', { onProgress: text => console.error(text) });
  const padded = join(scratch(), 'initrd');
  copyFileSync(initrd, padded);
  truncateSync(padded, BOOT_BYTES - statSync(kernel.bzImage).size);
  return { kernel, initrd: padded, cmdline };
};

const shell = async options => {
  const { VM } = await loadDist('vm.js');
  const vm = await VM.start({ memory: '256M', ...options });
  try {
    await vm.serial.expect(/# /, { timeout: '300s' });
  } finally {
    await vm.stop();
  }
};

export const bootRows = [
  { name: 'TFTP 64 MB: tftpd-hpa to tftp-hpa', needs: () => isHpa('in.tftpd') && isHpa('tftp'), run: async () => rate(await withTftpd(tftpHpa)) },
  { name: 'TFTP 64 MB: our server to tftp-hpa', needs: () => isHpa('tftp'), run: async () => rate(await ourServer(tftpHpa)) },
  { name: 'TFTP 64 MB: tftpd-hpa to our client, 512-byte blocks', needs: () => isHpa('in.tftpd'), run: async () => rate(await withTftpd(port => ourClient(port, {}))) },
  { name: 'TFTP 64 MB: tftpd-hpa to our client, 1468-byte blocks', needs: () => isHpa('in.tftpd'), run: async () => rate(await withTftpd(port => ourClient(port, { blksize: 1468 }))) },
  { name: 'TFTP 64 MB: our server to our client, 1468-byte blocks, window 1', needs: () => true, run: async () => rate(await ourServer(port => ourClient(port, { blksize: 1468 }))) },
  { name: 'TFTP 64 MB: our server to our client, 1468-byte blocks, window 64', needs: () => true, run: async () => rate(await ourServer(port => ourClient(port, { blksize: 1468, windowsize: 64 }))) },
  {
    name: "PXE ROM, from the machine's start to the loader's first instruction",
    needs: () => true,
    run: async () => {
      const machine = await romMachine(new Map([['nbp', FIRST_INSTRUCTION]]), [{ file: 'nbp' }]);
      return { value: (await timed(() => machine.run())) * 1000, unit: 'ms' };
    },
  },
  {
    name: 'Debian amd64 to its shell: PXE (kernel and initrd of 40 MB over the wire) less direct boot',
    needs: () => true,
    run: async () => {
      const { kernel, initrd, cmdline } = await guest();
      const append = `${cmdline} quiet vmlet.shell`;
      const direct = await timed(() => shell({ kernel: kernel.bzImage, initrd, append, agent: false }));
      const pxe = await timed(() => shell({ netboot: { kernel: kernel.bzImage, initrd, append } }));
      return { value: pxe - direct, unit: 's', note: `direct ${direct.toFixed(2)} s, PXE ${pxe.toFixed(2)} s` };
    },
  },
  {
    name: 'twenty idle PXE-booted clients of 32 MB: resident memory for each',
    needs: () => true,
    run: async () => {
      if (process.env.VMLET_BENCH_CHILD === undefined) {
        // Alone in a process: what other rows left behind does not count.
        const said = execFileSync(process.execPath, [process.argv[1], '--only', 'twenty idle', '--rounds', '1'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, VMLET_BENCH_CHILD: '1' } });
        return { value: Number(/([\d.]+) MB/.exec(said.split('\n').at(-2))[1]), unit: 'MB' };
      }
      const warm = await romMachine(new Map([['nbp', FIRST_INSTRUCTION]]), [{ file: 'nbp' }]);
      await warm.run();
      const before = process.memoryUsage.rss();
      const machines = [];
      for (let i = 0; i < 20; i++) {
        const machine = await romMachine(new Map([['nbp', FIRST_INSTRUCTION]]), [{ file: 'nbp' }]);
        await machine.run();
        machines.push(machine);
      }
      return { value: (process.memoryUsage.rss() - before) / 2 ** 20 / machines.length, unit: 'MB' };
    },
  },
  {
    name: 'twenty Debian clients of 48 MB in one lab, each by PXELINUX to its shell: resident memory for each',
    once: true,
    needs: () => existsSync(PXELINUX) && existsSync(LDLINUX),
    run: async () => {
      const said = execFileSync(process.execPath, [fileURLToPath(new URL('net-crowd.mjs', import.meta.url)), process.env.VMLET_BENCH_CROWD ?? '20'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
      const { perClientMb, cpuS, wallS } = JSON.parse(said);
      return { value: perClientMb, unit: 'MB', note: `all at their shells after ${cpuS.toFixed(0)} s of CPU, ${wallS.toFixed(0)} s of wall time` };
    },
  },
];
