// npm run fuzz:jit: random programs on both engines, for as long as wanted. Compiles the TypeScript of tests/ into build/ first.
import { execFileSync } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
process.env.VMLET_CORE ??= `${root}dist/core.wasm`;
process.env.VMLET_FIXTURES ??= `${root}tests/core/fixtures`;
try {
  execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', `${root}tests/fuzz/tsconfig.json`], { stdio: ['ignore', 'inherit', 'inherit'] });
  await import(pathToFileURL(`${root}build/fuzz/tests/fuzz/jit.js`));
} catch (error) {
  console.error(error.status === undefined ? error : 'fuzz:jit: the sources do not compile');
  process.exitCode = 2;
}
