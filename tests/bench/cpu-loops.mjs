// One process of bench:cpu: node cpu-loops.mjs RUNS SECONDS; prints JSON. `cpu.mjs` starts it, under each Node version.
import { BareCore, DATA } from './lib/bare-core.mjs';
import { hostInfo, main } from './lib/common.mjs';
import { BULK, coldCode, LOOPS } from './lib/loops.mjs';

const [runs, seconds] = process.argv.slice(2).map(Number);

/** Repeats `body` (which gives an amount of work) for the time and gives amount per second; `prepare` is not timed. */
const rate = (forSeconds, body, prepare) => {
  let amount = 0, elapsed = 0;
  do {
    prepare();
    const start = performance.now();
    amount += body();
    elapsed += (performance.now() - start) / 1000;
  } while (elapsed < forSeconds);
  return amount / elapsed;
};

/** One unmeasured run, in which V8 compiles what it will compile, and then the measured ones. */
const measure = (body, prepare = () => {}) => {
  rate(seconds, body, prepare);
  return Array.from({ length: runs }, () => rate(seconds, body, prepare));
};

const expectEqual = (what, got, wanted) => {
  if (got !== wanted) throw new Error(`${what}: got ${got}, expected ${wanted}`);
};

await main(async () => {
  const bare = await BareCore.create();
  const compiled = await BareCore.create({ kind: 'jit' });
  const mips = {}, jit = {}, decode = {}, bulk = {};
  for (const bits of [64, 32]) {
    for (const [name, make] of Object.entries(LOOPS)) {
      const { code, registers, prepare, model } = make(bits);
      const expected = model();
      for (const [figures, core] of [[mips, bare], [jit, compiled]]) {
        core.load(code, bits);
        figures[`${name} ${bits}`] = measure(() => {
          const { rax, instructions } = core.pass(registers);
          expectEqual(`${name} ${bits}: result`, rax, expected.result);
          if (expected.instructions !== undefined) expectEqual(`${name} ${bits}: instructions`, instructions, expected.instructions);
          else if (instructions < expected.least) throw new Error(`${name} ${bits}: ${instructions} instructions are too few`);
          return instructions / 1e6;
        }, () => prepare?.(core.core.ram));
      }
    }
    const cold = coldCode(bits);
    const expected = cold.model();
    bare.load(cold.code, bits);
    let blocks = 0, executed = 0;
    decode[`${bits}`] = measure(() => {
      const before = bare.blocksDecoded;
      const { rax, instructions } = bare.pass(cold.registers);
      blocks = bare.blocksDecoded - before;
      executed = instructions;
      expectEqual(`cold code ${bits}: result`, rax, expected.result);
      expectEqual(`cold code ${bits}: instructions`, instructions, expected.instructions);
      if (blocks < cold.blocks) throw new Error(`cold code ${bits}: ${blocks} blocks decoded, expected at least ${cold.blocks}`);
      return blocks / 1e6;
    }, () => bare.core.flush(0)).map(blockRate => ({ blocks: blockRate, instructions: (blockRate * executed) / blocks }));
    for (const [name, make] of Object.entries(BULK)) {
      const { code, bytes, registers, prepare } = make(bits);
      bare.load(code, bits);
      prepare(bare.core.ram);
      const end = name === 'repne scasb' ? DATA + 65_536 : DATA + 0x20_0000 + 65_536;
      bulk[`${name} ${bits}`] = measure(() => {
        expectEqual(`${name} ${bits}: end`, bare.pass(registers).rax, BigInt(end));
        return bytes / 1e6;
      });
    }
  }
  console.log(JSON.stringify({ host: hostInfo(), mips, jit, decode, bulk }));
});
