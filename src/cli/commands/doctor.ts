import type { Command } from 'commander';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CliContext } from '../run-cli.js';
import { errorText } from '../exit-codes.js';
import { cachedImages } from './image.js';

interface Finding {
  what: string;
  /** Whether vmlet can work like this. */
  ok: boolean;
  text: string;
}

const MIN_NODE = [20, 19];

const check = async (what: string, probe: () => Promise<string> | string): Promise<Finding> => {
  try {
    return { what, ok: true, text: await probe() };
  } catch (error) {
    return { what, ok: false, text: errorText(error) };
  }
};

const findings = (): Promise<Finding>[] => [
  check('node', () => {
    const [major, minor] = process.versions.node.split('.').map(Number);
    if (major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1])) throw new Error(`Node ${process.versions.node} is too old: ${MIN_NODE.join('.')} is needed`);
    return `${process.versions.node} on ${process.platform} ${process.arch}`;
  }),
  check('core', async () => {
    const { loadCore } = await import('../../vm-core.js');
    const started = performance.now();
    await loadCore();
    return `compiled in ${(performance.now() - started).toFixed(0)} ms`;
  }),
  check('cache', async () => {
    const { cacheFolder } = await import('../../image/cache.js');
    const folder = cacheFolder();
    const probe = join(folder, `.doctor-${process.pid}`);
    await mkdir(folder, { recursive: true });
    await writeFile(probe, '');
    await rm(probe);
    return folder;
  }),
  check('images', async () => {
    const names = [...new Set((await cachedImages()).map(({ recipe }) => recipe))];
    return names.length === 0 ? 'none fetched yet' : names.join(', ');
  }),
  check('packages', async () => {
    const { hasApt } = await import('../../image/apt.js');
    if (process.env.VMLET_MIRROR) return `from ${process.env.VMLET_MIRROR}`;
    if (await hasApt()) return "by this machine's apt";
    throw new Error('this machine has no apt: give a Debian mirror with VMLET_MIRROR=URL to fetch built-in guests');
  }),
];

export const addDoctorCommand = (program: Command, { stdout }: CliContext, done: (code: number) => void): void => {
  program
    .command('doctor')
    .description('check whether everything is in place')
    .option('--json', 'as JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const all = await Promise.all(findings());
      if (json) stdout.write(`${JSON.stringify(all, undefined, 2)}\n`);
      else for (const { what, ok, text } of all) stdout.write(`${ok ? 'ok  ' : 'FAIL'} ${what.padEnd(9)} ${text.split('\n').join('\n               ')}\n`);
      done(all.every(({ ok }) => ok) ? 0 : 125);
    });
};
