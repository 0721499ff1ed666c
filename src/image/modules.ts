// Kernel modules of a package: what depends on what, read from the modules themselves as depmod does.
import { VmletError } from '../errors.js';
import { utf8 } from './codec/bytes.js';
import { decompress, type Compression } from './codec/decompress.js';
import { readElfSection } from './elf.js';

const COMPRESSIONS: Record<string, Compression | undefined> = { '.xz': 'xz', '.gz': 'gzip', '.zst': 'zstd' };
const MAX_MODULE_BYTES = 256 << 20;

export interface KernelModule {
  /** With underscores, as the kernel names it. */
  name: string;
  /** Below `lib/modules/VERSION/`, always ending in `.ko`. */
  path: string;
  /** Uncompressed, because a small insmod passes it to the kernel as it is. */
  data: Uint8Array;
  depends: string[];
  /** Patterns by which the kernel asks for it. */
  aliases: string[];
}

export interface ModuleSet {
  /** Everything selected, dependencies first. */
  modules: KernelModule[];
  /** Names that the package has neither as a module nor built in. */
  missing: string[];
}

/** The modules of one kernel package, read when first asked for. */
export class ModuleTree {
  readonly #files = new Map<string, { path: string; data: Uint8Array }>();
  readonly #builtin = new Set<string>();
  readonly #read = new Map<string, KernelModule>();

  /** `path` is below `lib/modules/VERSION/`. */
  addFile(path: string, data: Uint8Array): void {
    const match = /(?:^|\/)([^/]+)\.ko(\.\w+)?$/.exec(path);
    if (match) {
      this.#files.set(moduleName(match[1]), { path, data });
    } else if (path === 'modules.builtin') {
      for (const line of utf8(data).split('\n')) {
        const name = /([^/]+)\.ko$/.exec(line.trim())?.[1];
        if (name) this.#builtin.add(moduleName(name));
      }
    }
  }

  get size(): number {
    return this.#files.size;
  }

  isBuiltin(name: string): boolean {
    return this.#builtin.has(moduleName(name));
  }

  find(name: string): KernelModule | undefined {
    const key = moduleName(name);
    const known = this.#read.get(key);
    if (known) return known;
    const file = this.#files.get(key);
    if (!file) return undefined;
    const suffix = /\.ko(\.\w+)?$/.exec(file.path)?.[1] ?? '';
    const kind = COMPRESSIONS[suffix];
    if (suffix && !kind) return undefined;
    const data = kind ? decompress(kind, file.data, { maxBytes: MAX_MODULE_BYTES }).bytes : file.data;
    const info = readModinfo(data);
    const soft = info.filter(([key]) => key === 'softdep').flatMap(([, value]) => softPre(value));
    const hard = info.filter(([key]) => key === 'depends').flatMap(([, value]) => value.split(','));
    const module: KernelModule = {
      name: key,
      path: suffix ? file.path.slice(0, -suffix.length) : file.path,
      data,
      depends: [...new Set([...hard.filter(Boolean), ...soft.filter((name) => this.#files.has(moduleName(name)))].map(moduleName))],
      aliases: info.filter(([key]) => key === 'alias').map(([, value]) => value),
    };
    this.#read.set(key, module);
    return module;
  }

  /** The named modules with all they need, in an order in which they load. */
  select(names: Iterable<string>): ModuleSet {
    const order = new Map<string, KernelModule>();
    const missing = new Set<string>();
    const visit = (name: string, path: readonly string[]): void => {
      const key = moduleName(name);
      if (order.has(key) || this.isBuiltin(key) || path.includes(key)) return;
      const module = this.find(key);
      if (!module) {
        missing.add(key);
        return;
      }
      for (const need of module.depends) visit(need, [...path, key]);
      order.set(key, module);
    };
    for (const name of names) visit(name, []);
    return { modules: [...order.values()], missing: [...missing] };
  }
}

/** modules.dep and modules.alias for a modprobe in the guest; `modules` are in an order in which they load. */
export function moduleIndex(modules: readonly KernelModule[]): { dep: string; alias: string } {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const addNeeds = (module: KernelModule, seen: Set<KernelModule>): Set<KernelModule> => {
    for (const name of module.depends) {
      const need = byName.get(name);
      if (!need || need === module || seen.has(need)) continue;
      seen.add(need);
      addNeeds(need, seen);
    }
    return seen;
  };
  // A modprobe loads the list from its end.
  const needs = (module: KernelModule): string[] => {
    const all = addNeeds(module, new Set());
    return modules.filter((other) => all.has(other)).map(({ path }) => ` ${path}`).reverse();
  };
  return {
    dep: modules.map((module) => `${module.path}:${needs(module).join('')}\n`).join(''),
    alias: modules.flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`)).join(''),
  };
}

export function moduleName(name: string): string {
  return name.replaceAll('-', '_');
}

function readModinfo(data: Uint8Array): [string, string][] {
  const section = readElfSection(data, '.modinfo');
  if (!section) throw new VmletError('ERR_VMLET_IMAGE_FORMAT', 'kernel module: no .modinfo section', { hint: 'The kernel package is damaged: fetch it again.' });
  return utf8(section).split('\0').filter(Boolean).map((line) => {
    const equals = line.indexOf('=');
    return [line.slice(0, equals), line.slice(equals + 1)];
  });
}

/** The modules that "pre: a b post: c" wants loaded before. */
function softPre(value: string): string[] {
  const pre: string[] = [];
  let before = false;
  for (const word of value.split(/\s+/)) {
    if (word === 'pre:') before = true;
    else if (word === 'post:') before = false;
    else if (before && word) pre.push(word);
  }
  return pre;
}
