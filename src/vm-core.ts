import { readFile } from 'node:fs/promises';
import { VmletError } from './errors.js';

/** Where the core lies: beside the built program, or in the build folder when the sources run. */
const PLACES = ['./core.wasm', '../dist/core.wasm'];

let compiled: Promise<WebAssembly.Module> | undefined;

const compile = async (): Promise<WebAssembly.Module> => {
  let cause: unknown;
  for (const place of PLACES) {
    try {
      return await WebAssembly.compile(await readFile(new URL(place, import.meta.url)));
    } catch (error) {
      cause ??= error;
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new VmletError('ERR_VMLET_CORE', `the CPU core cannot be compiled: ${(error as Error).message}`, { hint: 'install vmlet again', cause: error });
    }
  }
  throw new VmletError('ERR_VMLET_CORE', 'the CPU core is missing: there is no core.wasm', { hint: 'install vmlet again, or build it: npm run build:core', cause });
};

/** The CPU core, compiled once in a process. */
export const loadCore = (): Promise<WebAssembly.Module> => {
  compiled ??= compile();
  compiled.catch(() => (compiled = undefined));
  return compiled;
};
