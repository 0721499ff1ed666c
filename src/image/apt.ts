// Packages by the machine's own apt, with all its state in a private folder.
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { VmletError } from '../errors.js';
import { aborted, writeWhole } from './cache.js';
import { parseParagraphs } from './deb.js';
import { packageInfo, type PackageInfo, type PackageSource } from './packages.js';

const OUTPUT_MAX = 16 << 20;

interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Whether this machine has apt. */
export async function hasApt(): Promise<boolean> {
  try {
    return (await run('apt-get', ['--version'], process.cwd())).code === 0;
  } catch {
    return false;
  }
}

/**
 * Uses the machine's sources, keys and proxy settings, which are only read. Lists, caches and the (empty) package database
 * live in `folder`; no lock, hook or user of the system is touched.
 */
export class AptSource implements PackageSource {
  readonly complaints: string[] = [];
  readonly #folder: string;
  readonly #arch: string;
  readonly #config: string;

  /** `arch` is Debian's name: any that the machine's sources offer, whatever the machine is. */
  constructor(folder: string, arch: string) {
    this.#folder = folder;
    this.#arch = arch;
    this.#config = join(folder, 'apt.conf');
  }

  async update(signal?: AbortSignal): Promise<void> {
    for (const path of ['state/lists/partial', 'cache/archives/partial', 'log']) await mkdir(join(this.#folder, path), { recursive: true });
    await writeWhole(join(this.#folder, 'state/status'), '');
    await writeWhole(this.#config, configText(this.#folder, this.#arch));
    // An index that cannot be fetched makes apt complain or fail; another may still have what we need.
    const { stderr } = await this.#apt('apt-get', ['-q', 'update'], signal);
    for (const line of stderr.split('\n')) if (/^[EW]: (?!Some index files)/.test(line)) this.complaints.push(line.slice(3).trim());
  }

  async find(name: string, signal?: AbortSignal): Promise<PackageInfo[]> {
    const { stdout } = await this.#apt('apt-cache', ['-q', '--no-all-versions', 'show', `${name}:${this.#arch}`], signal);
    const wanted = (info: PackageInfo | undefined): info is PackageInfo =>
      info !== undefined && info.name === name && (info.arch === this.#arch || info.arch === 'all');
    return parseParagraphs(stdout).map(packageInfo).filter(wanted);
  }

  async fetch(info: PackageInfo, folder: string, signal?: AbortSignal): Promise<Uint8Array> {
    const target = join(folder, `${info.name}_${this.#arch}`);
    await mkdir(target, { recursive: true });
    const spec = `${info.name}:${this.#arch}=${info.version}`;
    const { code, stderr } = await this.#apt('apt-get', ['-q', 'download', spec], signal, target);
    const [file] = (await readdir(target)).filter((name) => name.endsWith('.deb'));
    if (code !== 0 || file === undefined) {
      const why = stderr.split('\n').filter((line) => line.startsWith('E: ')).at(-1)?.slice(3) ?? `apt-get ended with ${code}`;
      throw new VmletError('ERR_VMLET_FETCH', `cannot fetch the Debian package ${info.name}: ${why}`, {
        hint: 'Check the network and try again, or give a Debian mirror with VMLET_MIRROR=URL.',
      });
    }
    return readFile(join(target, file));
  }

  #apt(command: string, args: string[], signal?: AbortSignal, folder = this.#folder): Promise<Outcome> {
    return run(command, ['-c', this.#config, ...args], folder, signal);
  }
}

/** Read by apt after the machine's own configuration, so that it can take things back. */
function configText(folder: string, arch: string): string {
  const quoted = (text: string): string => `"${text.replaceAll('"', '')}"`;
  return [
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    '#clear APT::Architectures;',
    '#clear DPkg::Pre-Invoke;',
    '#clear DPkg::Post-Invoke;',
    `Dir::State ${quoted(join(folder, 'state'))};`,
    `Dir::State::lists ${quoted(join(folder, 'state/lists'))};`,
    `Dir::State::status ${quoted(join(folder, 'state/status'))};`,
    `Dir::Cache ${quoted(join(folder, 'cache'))};`,
    `Dir::Log ${quoted(join(folder, 'log'))};`,
    `APT::Architecture ${quoted(arch)};`,
    `APT::Architectures { ${quoted(arch)}; };`,
    'APT::Sandbox::User "root";',
    'Debug::NoLocking "true";',
    'Acquire::Languages "none";',
    'Acquire::Retries "2";',
    'Acquire::http::Timeout "20";',
    'Acquire::https::Timeout "20";',
    'Acquire::IndexTargets::deb-src::Sources::DefaultEnabled "false";',
    'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";',
    '',
  ].join('\n');
}

function run(command: string, args: string[], folder: string, signal?: AbortSignal): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(aborted(signal));
      return;
    }
    const child = spawn(command, args, {
      cwd: folder,
      signal,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', LANGUAGE: '' },
    });
    const outputs = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (outputs[name].length < OUTPUT_MAX) outputs[name] += text;
      });
    }
    child.on('error', (cause) => {
      if (signal?.aborted) reject(aborted(signal));
      else reject(new VmletError('ERR_VMLET_FETCH', `cannot run ${command}: ${cause.message}`, { hint: 'Give a Debian mirror with VMLET_MIRROR=URL.', cause }));
    });
    child.on('close', (code) => {
      if (signal?.aborted) reject(aborted(signal));
      else resolve({ code, ...outputs });
    });
  });
}
