import { setFlagsFromString } from 'node:v8';

let done = false;

/**
 * Asks V8 for its full register allocator on the interpreter's one large function, which it would otherwise give a quick one:
 * twice the speed (docs/benchmarks.md). A V8 without the flag ignores it. Call before the core is compiled.
 */
export function tuneEngine(): void {
  if (done) return;
  done = true;
  setFlagsFromString('--no-turbo-use-mid-tier-regalloc-for-huge-functions');
}
