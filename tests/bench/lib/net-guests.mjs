// The contenders of bench:net: each gives { run(command), published, cpu(), close() }, where `run` resolves when the command has ended in the guest and `cpu` tells
// the seconds of processor time so far, of all threads.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { BenchError, cpuSeconds, loadDist } from './common.mjs';

const PROMPT_MS = 120_000;
const COMMAND_MS = 300_000;
/** Any free port of this host. */
const freePort = () =>
  new Promise(resolve => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const ownCpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** A VM of ours with a user network. */
export const vmletGuest = async ({ image, engine, allow }) => {
  const { VM } = await loadDist('index.js');
  const vm = await VM.start({ image, engine, shell: false, net: { allow: [`127.0.0.1:${allow}`] } });
  const run = async command => {
    const { exitCode, stderr } = await vm.run(command);
    if (exitCode !== 0) throw new BenchError(`vmlet: '${command}' ended with ${exitCode}: ${stderr}`);
  };
  await run('true');
  const published = vm.network.gateway.publish('127.0.0.1:0:80');
  const { port } = await published.ready;
  return {
    run,
    published: port,
    cpu: ownCpu,
    /** Lets the machine run while `work` is done, although nobody waits for a command. */
    serving: async work => {
      const idle = vm.spawn('sleep 1000000');
      try {
        return await work();
      } finally {
        idle.kill('SIGKILL');
        await idle.wait();
      }
    },
    close: async () => {
      published.close();
      await vm.stop();
    },
  };
};

/** A guest with the same kernel and initrd on QEMU TCG, with the network that `netdev` names; undefined without QEMU. */
const qemuGuest = async ({ image, netdev, mac, setting = 'dhcp' }) => {
  const { resolveImage } = await loadDist('image/index.js');
  const { arch, kernel, initrd, cmdline } = await resolveImage(image);
  const child = spawn(arch === 'x86_64' ? 'qemu-system-x86_64' : 'qemu-system-i386', [
    '-accel', 'tcg', '-m', '256', '-nographic', '-no-reboot', '-kernel', kernel.bzImage, '-initrd', initrd, '-append', `${cmdline} quiet vmlet.shell vmlet.net=${setting}`,
    '-netdev', netdev, '-device', `virtio-net-pci,netdev=n,romfile=,mac=${mac}`,
  ]);
  let text = '';
  let look = () => {};
  child.stdout.on('data', part => {
    text += part;
    look();
  });
  const failed = new Promise((_, reject) => {
    child.on('error', reject);
    child.on('exit', () => reject(new BenchError(`QEMU ended: ${text.slice(-500)}`)));
  });
  failed.catch(() => {});
  const seen = (pattern, ms) => {
    let timer;
    const found = new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new BenchError(`QEMU's guest did not say ${pattern}: ${JSON.stringify(text.slice(-500))}`)), ms);
      look = () => pattern.test(text) && resolve();
      look();
    });
    return Promise.race([found, failed]).finally(() => clearTimeout(timer));
  };
  const close = () => child.kill('SIGKILL');
  try {
    // The shell may ask for the cursor's position behind its prompt.
    await seen(/# /, PROMPT_MS);
  } catch (error) {
    close();
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
  return {
    close,
    cpu: () => cpuSeconds(child.pid),
    run: async command => {
      text = '';
      child.stdin.write(`${command} && echo DO''NE || echo FAI''LED\n`);
      await seen(/DONE|FAILED/, COMMAND_MS);
      if (text.includes('FAILED')) throw new BenchError(`QEMU: '${command}' failed: ${text}`);
    },
  };
};

/** A guest on QEMU's user network. */
export const qemuUserGuest = async ({ image }) => {
  const published = await freePort();
  const guest = await qemuGuest({ image, netdev: `user,id=n,hostfwd=tcp:127.0.0.1:${published}-:80`, mac: '52:54:00:00:00:01' });
  return guest && { ...guest, published, serving: work => work() };
};

/** Two guests on one wire: a lab of ours. */
export const vmletPair = async ({ image, engine }) => {
  const { Lab } = await loadDist('index.js');
  const one = { image, engine, shell: false, nics: [{ switch: 'lan' }] };
  const lab = await Lab.up({ switches: { lan: { subnet: '10.9.0.0/24', restrict: true } }, vms: { a: one, b: one } });
  const runner = name => async command => {
    const { exitCode, stderr } = await lab.vm(name).run(command);
    if (exitCode !== 0) throw new BenchError(`vmlet: '${command}' ended with ${exitCode}: ${stderr}`);
  };
  return { a: runner('a'), b: runner('b'), address: 'a.lab', cpu: ownCpu, close: () => lab.stop() };
};

/** The same on QEMU TCG, a process each. */
export const qemuPair = async ({ image }) => {
  const port = await freePort();
  const a = await qemuGuest({ image, netdev: `socket,id=n,listen=127.0.0.1:${port}`, mac: '52:54:00:00:00:01', setting: '10.9.0.1/24' });
  if (a === undefined) return undefined;
  const b = await qemuGuest({ image, netdev: `socket,id=n,connect=127.0.0.1:${port}`, mac: '52:54:00:00:00:02', setting: '10.9.0.2/24' });
  return {
    a: a.run,
    b: b.run,
    address: '10.9.0.1',
    cpu: () => a.cpu() + b.cpu(),
    close: () => {
      a.close();
      b.close();
    },
  };
};
