import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCapture } from '../../src/net/pcapng.js';
import { hasCore } from '../host/machine-support.js';
import { apiProgram } from '../pxe/nbp.js';
import { cli } from '../support/cli.js';

let folder = '';
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmlet-netboot-'));
  file('nbp.0', apiProgram([], '!PXE', 5));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const boot = (...args: string[]) => cli(['netboot', 'boot', ...args]);

describe.skipIf(!hasCore)('netboot boot', () => {
  it('boots a loader from a folder; its exit code, its capture and its result', async () => {
    const pcap = join(folder, 'out.pcapng');
    const report = join(folder, 'result.json');
    const { code, stdout, stderr } = await boot('--tftp', folder, '--file', 'nbp.0', '--debug-exit', '0xf4', '-m', '32M', '--pcap', pcap, '--result', report, '--nic-model', 'e1000', '-v');
    expect(stdout).toContain('10.0.2.15 from 10.0.2.2; nbp.0 from 10.0.2.2');
    expect(stderr).toMatch(/vmlet: 0\.000 client: loader: nbp\.0 starts/);
    expect(code).toBe((5 << 1) | 1);
    const { packets, problem } = readCapture(readFileSync(pcap));
    expect(problem).toBeUndefined();
    expect(packets.length).toBeGreaterThan(6);
    expect(JSON.parse(readFileSync(report, 'utf8'))).toMatchObject({ exitCode: 11, reason: 'exit', netboot: { stage: 'loader', failure: null } });
    // What was captured is a boot that lint has nothing to say about.
    const lint = await cli(['netboot', 'lint', pcap]);
    expect(lint.stdout).toMatch(/ACK, 52:54:00:[^\n]*boots nbp\.0[^]*nbp\.0 is sent[^]*0 errors, 0 warnings/);
    expect(lint.code).toBe(0);
  });

  it('ends well when the console says what is expected, and only then', async () => {
    expect(await boot('--tftp', folder, '--file', 'nbp.0', '-m', '32M', '--expect', '/nbp\\.0 from/')).toMatchObject({ code: 0 });
    const never = await boot('--tftp', folder, '--file', 'nbp.0', '-m', '32M', '--expect', 'login:', '-T', '2s');
    expect(never).toMatchObject({ code: 124, stderr: expect.stringContaining('the boot loader had started') });
  });

  it('types answers in their order, each when its text has come, and says which one never did', async () => {
    // Says '?', waits for a key and ends with it; once more when it is a letter.
    file('ask.0', Uint8Array.of(0xb4, 0x0e, 0xb0, 0x3f, 0xcd, 0x10, 0xb4, 0, 0xcd, 0x16, 0x3c, 0x40, 0x77, 0xf2, 0xe6, 0xf4, 0xf4));
    const asked = await boot('--tftp', folder, '--file', 'ask.0', '-m', '32M', '--debug-exit', '0xf4', '--answer', '?=x', '--answer', '/\\?/=\\r');
    expect(asked.code, asked.stderr).toBe((0x0d << 1) | 1);
    const never = await boot('--tftp', folder, '--file', 'ask.0', '-m', '32M', '--answer', 'no such text=\\x03', '-T', '5s');
    expect(never.stderr).toMatch(/5\.\d+ s of guest time is over; the console never said \/no such text\//);
    expect(never.code).toBe(124);
  });

  it('a loader that started something silent: what may be missing, and whether its configuration got the words', async ctx => {
    if (!existsSync('/usr/lib/PXELINUX/pxelinux.0') || !existsSync('/boot/memtest86+x64.bin')) return ctx.skip('not there: packages pxelinux, syslinux-common, memtest86+');
    const root = join(folder, 'silent');
    mkdirSync(join(root, 'pxelinux.cfg'), { recursive: true });
    copyFileSync('/usr/lib/PXELINUX/pxelinux.0', join(root, 'pxelinux.0'));
    copyFileSync('/usr/lib/syslinux/modules/bios/ldlinux.c32', join(root, 'ldlinux.c32'));
    copyFileSync('/boot/memtest86+x64.bin', join(root, 'memtest'));
    const silent = async (config: string, ...more: string[]): Promise<string> => {
      writeFileSync(join(root, 'pxelinux.cfg/default'), config);
      const { code, stderr } = await boot('--tftp', root, '--file', 'pxelinux.0', '-m', '64M', '-T', '3s', ...more);
      expect(code).toBe(124);
      return stderr;
    };
    const config = 'DEFAULT x\nLABEL x\n LINUX memtest\n';
    expect(await silent(config)).toMatch(/let the network go, as before it starts a kernel; a kernel that says nothing may lack console=ttyS0 \(--append 'console=ttyS0'\)/);
    expect(await silent(config, '--append', 'console=ttyS0')).toMatch(/default: note: 1 kernel line with 'console=ttyS0' at the end[^]*let the network go, as before it starts a kernel\n/);
    expect(await silent('DEFAULT memtest\n', '--append', 'console=ttyS0')).toMatch(/no configuration that it fetched has a kernel line for 'console=ttyS0'/);
  });

  it('a client that fails says at which stage, who refused it and why: never a bare timeout', async () => {
    const report = join(folder, 'failed.json');
    const { code, stdout, stderr } = await boot('--tftp', folder, '--file', 'nothing.0', '-m', '32M', '--result', report);
    expect(code).toBe(255);
    expect(stdout).toContain('PXE-T01: File not found nothing.0');
    expect(stderr).toMatch(/tftp: 10\.0\.2\.15:\d+: RRQ nothing\.0: refused: there is no such file/);
    expect(stderr).toMatch(/the network boot failed at the stage 'tftp': PXE-T01: File not found/);
    expect(JSON.parse(readFileSync(report, 'utf8'))).toMatchObject({ exitCode: 255, netboot: { stage: 'tftp', failure: { code: 'PXE-T01', server: '10.0.2.2' } } });
    const rules = file('rules.yaml', 'rules:\n  - {match: {arch: 7}, file: nbp.0}\n');
    const ruled = await boot('--tftp', folder, '--rules', rules, '-m', '32M');
    expect(ruled.code).toBe(255);
    expect(ruled.stderr).toMatch(/failed at the stage 'boot-server': PXE-E53[^\n]*no boot file/);
    expect(ruled.stderr).toMatch(/no boot rule matches \(rule 1: architecture 0 is not 7\)/);
  });

  it('is the same on every run', async () => {
    const once = async (): Promise<unknown> => {
      const { stdout } = await boot('--tftp', folder, '--file', 'nothing.0', '-m', '32M', '--json', '--seed', '3');
      const { wallMs, ...rest } = JSON.parse(stdout) as { wallMs: number; stateHash: string };
      expect(wallMs).toBeGreaterThan(0);
      expect(rest.stateHash).toMatch(/^[0-9a-f]{64}$/);
      return rest;
    };
    expect(await once()).toEqual(await once());
  });

  it('a script by HTTP from this host, through iPXE', async ctx => {
    if (!existsSync('/usr/lib/ipxe/undionly.kpxe')) return ctx.skip('undionly.kpxe is not there: package ipxe');
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      if (request.url === '/boot.ipxe') response.end('#!ipxe\necho the script runs on ${net0/ip}\nchain nbp.0\n');
      else if (request.url === '/nbp.0') response.end(readFileSync(join(folder, 'nbp.0')));
      else response.writeHead(404).end();
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const { code, stdout } = await boot('--http', `http://127.0.0.1:${port}/boot.ipxe`, '--debug-exit', '0xf4', '-m', '32M', '-T', '120s');
      expect(stdout).toContain('the script runs on 10.0.2.15');
      expect(asked).toEqual(['/boot.ipxe', '/nbp.0']);
      expect(code).toBe((5 << 1) | 1);
    } finally {
      server.close();
    }
  });

  it.each<[string, string[], RegExp]>([
    ['nothing to boot', [], /nothing to boot[^]*--tftp FOLDER --file LOADER, --kernel FILE or --http URL/],
    ['a folder without a file', ['--tftp', '.'], /which file of '\.' boots/],
    ['a file without a folder', ['--file', 'x.0'], /in no folder[^]*--tftp/],
    ['two ways', ['--kernel', 'a', '--http', 'http://x/'], /a kernel and an URL were given/],
    ['a folder that is none', ['--tftp', '/no/such', '--file', 'x'], /'\/no\/such' cannot be served/],
    ['a kernel that is not there', ['--kernel', '/no/such/vmlinuz'], /no kernel at \/no\/such\/vmlinuz/],
    ['an initrd without a kernel', ['--initrd', 'x'], /initrd was given without a kernel/],
    ['an URL that is none', ['--http', 'boot.ipxe', '--ipxe', '/dev/null'], /is no URL/],
    ['HTTPS', ['--http', 'https://127.0.0.1/x', '--ipxe', '/dev/null'], /has no https/],
    ['an iPXE that is not there', ['--http', 'http://127.0.0.1/x', '--ipxe', '/no/ipxe'], /no iPXE loader at \/no\/ipxe/],
    ['a pattern that is none', ['--tftp', '.', '--file', 'x', '--expect', '/(/'], /--expect/],
    ['words for no kernel', ['--append', 'quiet'], /a command line was given without a kernel[^]*--tftp FOLDER/],
    ['words of two lines', ['--tftp', '.', '--file', 'x', '--append', 'a\nb'], /the command line holds a control character/],
    ['an answer without keys', ['--tftp', '.', '--file', 'x', '--answer', 'boot:'], /'boot:' is not TEXT=KEYS[^]*install/],
    ['an answer to a pattern that is none', ['--tftp', '.', '--file', 'x', '--answer', '/(/=x'], /--answer: /],
    ['rules that are wrong', ['--rules', '/no/rules.yaml'], /rules file \/no\/rules\.yaml cannot be read/],
  ])('refuses %s', async (_, args, message) => {
    const result = await boot(...args);
    expect(result.stderr).toMatch(message);
    expect(result.code).toBe(125);
    expect(result.stderr).not.toContain('internal error');
  });
});
