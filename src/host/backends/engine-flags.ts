import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';

const V8 = parseInt(process.versions.v8, 10);
/** V8 complains about flags that it does not know: later ones are left alone until somebody has looked. */
const NEWEST_KNOWN = 14;

let done = false;

let prepared = false;

/**
 * Prepares V8 for compiled regions: to heed their branch hints (slow paths leave the straight line, 1.2 to 1.7 times the speed), and to optimise them later than it
 * does by itself. Its budget is made for pages that load one module; an optimised region pays back after some million instructions, and background threads
 * that optimise what is hardly warm take the machine's other cores. At most so many of them work at a time that the guest keeps a core to itself: 5 % on two cores. Call after the core was instantiated, which keeps the usual budget, and before the first region.
 */
export function prepareRegions(): void {
  if (prepared) return;
  prepared = true;
  if (V8 > NEWEST_KNOWN) return;
  setFlagsFromString('--experimental-wasm-branch-hinting');
  setFlagsFromString('--wasm-tiering-budget=50000000');
  setFlagsFromString(`--wasm-num-compilation-tasks=${Math.max(1, availableParallelism() - 1)}`);
}

/**
 * Asks V8 for its full register allocator on the interpreter's one large function: 1.3 to 2 times the speed. Only the V8 of Node 20 has
 * the quick allocator and the flag; later ones always use the full one and complain about the flag. Call before the core is compiled.
 */
export function tuneEngine(): void {
  if (done) return;
  done = true;
  if (V8 < 12) setFlagsFromString('--no-turbo-use-mid-tier-regalloc-for-huge-functions');
}
