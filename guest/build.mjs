// Builds the guest agent: node guest/build.mjs [FOLDER]. Needs gcc for x86; the results are committed under images/agent.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2] ?? join(here, '../images/agent');
const flags = [
  '-std=gnu11', '-Os', '-static', '-nostdlib', '-ffreestanding', '-fno-builtin', '-fno-pic', '-no-pie', '-fno-stack-protector', '-fomit-frame-pointer',
  '-fno-asynchronous-unwind-tables', '-fno-unwind-tables', '-fno-ident', '-fcf-protection=none', '-fno-tree-loop-distribute-patterns', '-fno-strict-aliasing',
  '-mno-sse', '-Wall', '-Wextra', '-Werror', '-Wl,--build-id=none', '-Wl,-z,norelro', '-Wl,-z,noseparate-code', '-Wl,-z,noexecstack', '-s',
];
const targets = { amd64: ['-m64'], i386: ['-m32', '-march=i586'] };

const source = createHash('sha256');
for (const file of ['agent.c', 'sys.h']) source.update(readFileSync(join(here, file)));
mkdirSync(folder, { recursive: true });
for (const [name, machine] of Object.entries(targets)) {
  execFileSync('gcc', [...machine, ...flags, '-o', join(folder, `agent-${name}`), join(here, 'agent.c')], { stdio: 'inherit' });
}
const compiler = execFileSync('gcc', ['--version'], { encoding: 'utf8' }).split('\n')[0];
writeFileSync(join(folder, 'build.json'), `${JSON.stringify({ compiler, source: source.digest('hex') }, undefined, 2)}\n`);
