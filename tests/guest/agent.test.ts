import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Random } from '../support/random.js';
import { agentPath, hostRunsAgents, runIn, startNativeAgent } from '../support/native-agent.js';

const guest = (file: string) => fileURLToPath(new URL(`../../guest/${file}`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'vmlet-agent-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const canRun = (name: 'amd64' | 'i386'): boolean => hostRunsAgents && spawnSync(agentPath(name), [], { input: '' }).status === 0;

describe.each(['amd64', 'i386'] as const)('the %s agent', name => {
  it('is a small static program for its machine', () => {
    const bytes = readFileSync(agentPath(name));
    expect(statSync(agentPath(name)).size).toBeLessThan(16384);
    expect(bytes.readUInt16LE(16), 'ET_EXEC').toBe(2);
    expect(bytes.readUInt16LE(18)).toBe(name === 'amd64' ? 62 : 3);
  });

  describe.skipIf(!canRun(name))('on a Linux host', () => {
    let running: ReturnType<typeof startNativeAgent>;
    beforeEach(() => {
      running = startNativeAgent(name);
    });
    afterEach(async () => {
      running.child.stdin!.end();
      expect(await running.ended).toBe(0);
    });
    const run = (...rest: Parameters<typeof runIn> extends [unknown, ...infer R] ? R : never) => runIn(running.agent, ...rest);

    it('runs a command with separate outputs and its exit code', async () => {
      const result = await run({ argv: ['sh', '-c', 'printf out; printf err >&2; exit 7'] });
      expect(result).toMatchObject({ status: { code: 7 } });
      expect(result.stdout.toString()).toBe('out');
      expect(result.stderr.toString()).toBe('err');
    });

    it('passes arguments, environment and folder as they are', async () => {
      const script = join(folder, 'show.sh');
      writeFileSync(script, '#!/bin/sh\nfor a in "$@"; do printf "<%s>" "$a"; done; printf "|%s|%s" "$A" "$(pwd)"\n');
      chmodSync(script, 0o755);
      const result = await run({ argv: [script, '', 'a b', 'ü\n"'], env: { A: 'x=y', PATH: '/usr/bin:/bin' }, cwd: folder });
      expect(result.stdout.toString()).toBe(`<><a b><ü\n">|x=y|${folder}`);
    });

    it('reports what cannot be run, by stage and error number', async () => {
      const plain = join(folder, `plain-${name}`);
      writeFileSync(plain, 'echo from a script without a first line\n', { mode: 0o644 });
      expect((await run({ argv: ['no-such-program'] })).error).toEqual({ stage: 'exec', errno: 2 });
      expect((await run({ argv: [plain] })).error).toEqual({ stage: 'exec', errno: 13 });
      expect((await run({ argv: ['/'] })).error).toEqual({ stage: 'exec', errno: 13 });
      expect((await run({ argv: [''] })).error).toEqual({ stage: 'exec', errno: 2 });
      expect((await run({ argv: ['true'], cwd: '/no/such/folder' })).error).toEqual({ stage: 'folder', errno: 2 });
      expect((await run({ argv: ['true'], user: 'no-such-user' })).error).toEqual({ stage: 'user', errno: 2 });
      chmodSync(plain, 0o755);
      expect((await run({ argv: [plain] })).stdout.toString()).toBe('from a script without a first line\n');
      expect((await run({ argv: ['true'] })).status).toEqual({ code: 0 });
    });

    it('carries a megabyte of random bytes both ways', async () => {
      const random = new Random(5);
      const bytes = Uint8Array.from({ length: 1_048_583 }, () => random.below(256));
      const result = await run({ argv: ['cat'] }, command => {
        command.write(bytes);
        command.end();
      });
      expect(result.status).toEqual({ code: 0 });
      expect(result.stdout.equals(bytes)).toBe(true);
    });

    it('serves several commands at once', async () => {
      const results = await Promise.all([3, 1, 2].map(n => run({ argv: ['sh', '-c', `cat; exit ${n}`] }, command => {
        command.write(Buffer.from(`input ${n}`));
        command.end();
      })));
      expect(results.map(({ stdout, status }) => [stdout.toString(), status])).toEqual([3, 1, 2].map(n => [`input ${n}`, { code: n }]));
    });

    it('signals a command and tells the signal that ended it', async () => {
      let stop = (): void => {};
      const result = await run({ argv: ['sh', '-c', 'echo up; exec sleep 1000'] }, command => (stop = () => command.signal(15)), { onOutput: () => stop() });
      expect(result).toMatchObject({ status: { signal: 15 }, stdout: Buffer.from('up\n') });
    });

    it('does not wait for what a command leaves behind', async () => {
      const result = await run({ argv: ['sh', '-c', 'sleep 1000 & echo $!'] });
      expect(result.status).toEqual({ code: 0 });
      process.kill(Number(result.stdout.toString()), 'SIGKILL');
    });

    it('gives an empty standard input when there is none', async () => {
      expect(await run({ argv: ['wc', '-c'], stdin: false }, () => {})).toMatchObject({ status: { code: 0 }, stdout: Buffer.from('0\n') });
    });

    it('drops input that nobody reads', async () => {
      const bytes = new Uint8Array(300_000);
      const result = await run({ argv: ['sh', '-c', 'exec <&-; sleep 0.1; echo done'] }, command => {
        command.write(bytes);
        command.end();
      });
      expect(result.stdout.toString()).toBe('done\n');
    });

    it('gives a terminal of the right size', async () => {
      const result = await run({ argv: ['sh', '-c', 'tty -s && stty size; read line; echo "got $line"; exit 3'], stdin: false, tty: { columns: 123, rows: 45 } }, command => command.write(Buffer.from('hello\n')));
      expect(result.status).toEqual({ code: 3 });
      expect(result.stdout.toString().replace(/\r/g, '')).toMatch(/45 123\n(.|\n)*got hello\n$/);
      expect(result.stderr.length).toBe(0);
    });
  });
});

const compiler = (): string | undefined => {
  try {
    return execFileSync('gcc', ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0];
  } catch {
    return undefined;
  }
};

describe('the committed agents', () => {
  const built = JSON.parse(readFileSync(fileURLToPath(new URL('../../images/agent/build.json', import.meta.url)), 'utf8')) as { compiler: string; source: string };

  it('are of the committed source', () => {
    const hash = createHash('sha256');
    for (const file of ['agent.c', 'sys.h']) hash.update(readFileSync(guest(file)));
    expect(built.source, 'run node guest/build.mjs').toBe(hash.digest('hex'));
  });

  it.skipIf(compiler() !== built.compiler)('come out of the recorded compiler byte for byte', () => {
    execFileSync(process.execPath, [guest('build.mjs'), folder]);
    for (const name of ['amd64', 'i386'] as const) expect(readFileSync(join(folder, `agent-${name}`)).equals(readFileSync(agentPath(name)))).toBe(true);
  });
});
