import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasCore, POWER_OFF } from '../host/machine-support.js';
import { cli, FakeIo } from '../support/cli.js';
import { runCli } from '../../src/cli/run-cli.js';

let folder = '';
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
/** A boot program that says something by INT 10h, and then waits for ever. */
const saying = (text: string): Uint8Array => Uint8Array.from([...[...text].flatMap(char => [0xb4, 0x0e, 0xb0, char.charCodeAt(0), 0xbb, 7, 0, 0xcd, 0x10]), 0xfb, 0xf4, 0xeb, 0xfd]);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmlet-lab-'));
  mkdirSync(join(folder, 'tftp'));
  file('tftp/ready.0', saying('ready for work'));
  file('tftp/other.0', saying('something else'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const LAB = `
version: 1
seed: 7
defaults: {memory: 4M, timeout: 60s}
switches:
  lan: {subnet: 10.9.0.0/24, tftp: tftp, pcap: lan.pcapng}
vms:
  client: {boot: net, count: 20, nics: [{switch: lan}]}
  odd: {boot: net, nics: [{switch: lan, mac: "52:54:00:99:00:01", model: e1000}]}
netboot:
  rules:
    - {match: {mac: "52:54:00:99:*"}, file: other.0}
    - {file: ready.0}
tests:
  - {name: twenty boot at once, vm: client, wait: [{serial: /ready for work/}]}
  - {name: by its own rule, vm: odd, wait: [{serial: something else}]}
`;

describe.skipIf(!hasCore)('lab up', () => {
  it('twenty clients boot at once from one server, a rule for one of them; the same lab again is the same', async () => {
    const path = file('lab.yaml', LAB);
    const result = join(folder, 'result.json');
    const { code, stdout, stderr } = await cli(['lab', 'up', path, '--result', result]);
    expect(stdout, stderr).toMatch(/ok 1 - twenty boot at once \(client-1\)[^]*ok 20 - twenty boot at once \(client-20\)\nok 21 - by its own rule \(odd\)\n21 passed, 0 failed\n$/);
    expect(code).toBe(0);
    const report = JSON.parse(readFileSync(result, 'utf8')) as { passed: number; tests: { guestTimeNs: number }[]; guestTimeNs: number };
    expect(report).toMatchObject({ schema: 1, exitCode: 0, passed: 21, failed: 0, seed: 7 });
    // What passed on the switch is a boot of 21 machines that lint has nothing to say about.
    const lint = await cli(['netboot', 'lint', '-q', join(folder, 'lan.pcapng'), '--json']);
    const seen = JSON.parse(lint.stdout) as { errors: number; files: { steps: string[] }[] };
    expect(lint.code).toBe(0);
    expect(seen.files[0].steps.filter(step => / ACK, /.test(step))).toHaveLength(21);
    const capture = readFileSync(join(folder, 'lan.pcapng'));
    const again = await cli(['lab', 'up', path, '--json']);
    expect((JSON.parse(again.stdout) as typeof report).tests.map(({ guestTimeNs }) => guestTimeNs)).toEqual(report.tests.map(({ guestTimeNs }) => guestTimeNs));
    expect(Buffer.compare(readFileSync(join(folder, 'lan.pcapng')), capture)).toBe(0);
  });

  it('a ProxyDHCP server beside a DHCP server that knows nothing of booting', async () => {
    const { code, stdout } = await cli(['lab', 'up', file('proxy.yaml', LAB.replace('count: 20', 'count: 2').replace('netboot:', 'netboot:\n  mode: proxy'))]);
    expect(stdout).toMatch(/3 passed, 0 failed/);
    expect(code).toBe(0);
  });

  it('a client that fails says how far it came and who refused it: exit code 1', async () => {
    const { code, stdout } = await cli(['lab', 'up', file('failing.yaml', LAB.replace('count: 20', 'count: 2').replace('{file: ready.0}', '{file: missing.0}').replace('60s', '5s'))]);
    expect(stdout).toMatch(/not ok 1 - twenty boot at once \(client-1\)\n[^]*the machine ended[^]*failed at the stage 'tftp': PXE-T01: File not found missing\.0/);
    expect(stdout).toMatch(/RRQ missing\.0: refused: there is no such file/);
    expect(stdout).toMatch(/ok 3 - by its own rule[^]*1 passed, 2 failed/);
    expect(code).toBe(1);
  });

  it('no tests: it runs until its machines end', async () => {
    const off = file('tftp/off.0', Uint8Array.from([...POWER_OFF, 0xf4, 0xeb, 0xfd]));
    expect(off).toContain('off.0');
    const lab = LAB.replace('count: 20', 'count: 2').replace(/tests:[^]*/, '').replace('ready.0', 'off.0').replace('other.0', 'off.0');
    const { code, stdout } = await cli(['lab', 'up', file('off.yaml', lab)]);
    expect(stdout).toMatch(/ok 1 - ends by itself \(client-1\)[^]*3 passed, 0 failed/);
    expect(code).toBe(0);
  });

  it('a matrix and seeds: each combination is a lab of its own, with its name, its seed and its capture', async () => {
    const variants = LAB.replace('count: 20', 'count: 2').replace(/- \{name: by its own rule.*/, '- {name: boots, vm: odd, wait: [{serial: something else}], matrix: {model: [virtio, e1000, rtl8139], memory: [4M, 8M]}, seeds: 5..6}');
    const path = file('matrix.yaml', variants);
    const { code, stdout, stderr } = await cli(['lab', 'up', path]);
    expect(stdout, stderr).toMatch(/^ok 1 - twenty boot at once \(client-1\)\nok 2 - [^\n]*\nok 3 - boots \[model=virtio, memory=4M, seed=5\] \(odd\)\nok 4 - boots \[model=virtio, memory=4M, seed=6\][^]*\nok 14 - boots \[model=rtl8139, memory=8M, seed=6\] \(odd\)\n14 passed, 0 failed\n$/);
    expect(code).toBe(0);
    expect(readFileSync(join(folder, 'lan.model=e1000-memory=4M-seed=5.pcapng')).length).toBeGreaterThan(1000);
    const one = await cli(['lab', 'up', path, '--only', 'boots [model=e1000, memory=8M, seed=6]', '--json']);
    expect(JSON.parse(one.stdout)).toMatchObject({ passed: 1, failed: 0, tests: [{ name: 'boots [model=e1000, memory=8M, seed=6]', vm: 'odd', seed: '6', ok: true }] });
    // One seed, one run.
    const again = await cli(['lab', 'up', path, '--only', 'model=e1000, memory=8M, seed=6', '--json']);
    expect((JSON.parse(again.stdout) as { guestTimeNs: number }).guestTimeNs).toBe((JSON.parse(one.stdout) as { guestTimeNs: number }).guestTimeNs);
    expect(await cli(['lab', 'up', path, '--only', 'nothing'])).toMatchObject({ code: 2, stderr: expect.stringContaining("no test has 'nothing' in its name") });
    expect((await cli(['lab', 'up', path, '--dry-run'])).stderr).toMatch(/3 machines, 1 switches, 2 tests in 13 labs/);
  });

  it('a run of a matrix that fails says how to run it alone', async () => {
    const path = file('matrix-fails.yaml', LAB.replace('count: 20', 'count: 1').replace(/- \{name: twenty.*/, '').replace('/10', '/10').replace('wait: [{serial: something else}]', 'wait: [{serial: /4M is never said/}], timeout: 2s, seeds: [a, 7]'));
    const { code, stdout } = await cli(['lab', 'up', path]);
    expect(stdout).toMatch(/not ok 1 - by its own rule \[seed=a\] \(odd\)\n {2}no \/4M is never said\/ [^\n]*\n {2}to run it alone: vmlet lab up [^\n]*matrix-fails\.yaml --only 'by its own rule \[seed=a\]'\n[^]*not ok 2 - by its own rule \[seed=7\][^]*0 passed, 2 failed/);
    expect(code).toBe(1);
  });

  it('a published port that is taken, a capture nowhere: said before anything runs', async () => {
    const server = createServer();
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const taken = await cli(['lab', 'up', file('taken.yaml', LAB.replace('pcap: lan.pcapng', `publish: ["127.0.0.1:${port}:80"]`))]);
      expect(taken.stderr).toMatch(new RegExp(`cannot publish 127\\.0\\.0\\.1:${port}: it is in use[^]*choose a free port`));
      expect(taken).toMatchObject({ code: 125, stdout: '' });
    } finally {
      server.close();
    }
    const nowhere = await cli(['lab', 'up', file('nowhere.yaml', LAB.replace('lan.pcapng', '/no/such/folder/lan.pcapng'))]);
    expect(nowhere.stderr).toMatch(/cannot write the capture \/no\/such\/folder\/lan\.pcapng/);
    expect(nowhere.code).toBe(125);
    expect(await cli(['lab', 'up', '/no/such/lab.yaml'])).toMatchObject({ code: 125, stderr: expect.stringMatching(/the lab \/no\/such\/lab\.yaml cannot be read/) });
  });

  it('reads the examples of the documentation', async () => {
    const text = readFileSync(new URL('../../docs/labs.md', import.meta.url), 'utf8');
    const [lab, rules] = [...text.matchAll(/```yaml\n([^]*?)```/g)].map(([, yaml]) => yaml);
    mkdirSync(join(folder, 'tftpboot'), { recursive: true });
    const dry = await cli(['lab', 'up', file('example.yaml', lab), '--dry-run']);
    expect(dry.stderr).toBe('vmlet: all is well: 4 machines, 1 switches, 3 tests in 10 labs\n');
    const lint = await cli(['netboot', 'lint', file('example-rules.yaml', rules)]);
    expect(lint.stdout).toMatch(/5 boot rules\n0 errors, 0 warnings\n$/);
    // A field that the table has not, or has too much, is found by the error that lists them all.
    const fields = async (wrong: string): Promise<string[]> => /fields are (.*)/.exec((await cli(['lab', 'up', file('fields.yaml', wrong), '--dry-run'])).stderr)![1].split(', ');
    const row = (name: string): string => text.split('\n').find(line => line.startsWith(`| ${name} |`))!;
    for (const [name, wrong] of [['`switches.NAME`', 'switches: {a: {x: 1}}\nvms: {a: {}}'], ['`vms.NAME`', 'vms: {a: {x: 1}}'], ['`nics`', 'vms: {a: {nics: [{x: 1}]}}'], ['`tests`', 'vms: {a: {}}\ntests: [{x: 1}]'], ['`match`', 'vms: {a: {}}\nnetboot: {rules: [{file: f, match: {x: 1}}]}']]) {
      for (const field of await fields(wrong)) expect(row(name), field).toContain(`\`${field}`);
    }
  });

  it('is ended by a signal', async () => {
    const io = new FakeIo();
    io.kind = 'file';
    io.stdin.end('');
    const running = runCli(['lab', 'up', file('long.yaml', LAB.replace('count: 20', 'count: 1').replace('/ready for work/', '/never said/').replace('60s', '2000h'))], io);
    io.signal('SIGINT');
    setImmediate(() => io.signal('SIGINT'));
    expect(await running).toBe(130);
  });

  it.each<[string, string, RegExp]>([
    ['no file', '', /it must be a map/],
    ['no machines', 'version: 1', /the lab has no vms/],
    ['another version', 'version: 2\nvms: {a: {}}', /:1: version: this version reads version 1/],
    ['an unknown field', 'vms: {a: {imag: x}}', /vms\.a\.imag: there is no such field[^]*fields are image/],
    ['an unknown switch', 'vms: {a: {boot: net, nics: [{switch: lan}]}}', /there is no switch 'lan'/],
    ['a switch that is none', 'switches: {lan: {subnet: 10.9.0.0}}\nvms: {a: {image: amd64}}', /is no subnet/],
    ['a test of nobody', 'vms: {a: {image: amd64}}\ntests: [{vm: b, run: "true"}]', /tests\[0\]\.vm: there is no machine 'b'/],
    ['a test of nothing', 'vms: {a: {image: amd64}}\ntests: [{vm: a}]', /the test does nothing/],
    ['a step that is none', 'vms: {a: {image: amd64}}\ntests: [{vm: a, wait: [{serial: x, send: y}]}]', /a step waits or sends/],
    ['a pattern that is none', 'vms: {a: {image: amd64}}\ntests: [{vm: a, wait: [{serial: /(/}]}]', /no regular expression/],
    ['TFTP without an address', 'switches: {lan: {tftp: tftp}}\nvms: {a: {image: amd64}}', /TFTP and HTTP need an address/],
    ['words without a folder', 'switches: {lan: {subnet: 10.9.0.0/24, append: quiet}}\nvms: {a: {image: amd64}}', /switches\.lan\.append: it is for the configurations in a folder/],
    ['words of two lines', 'switches: {lan: {subnet: 10.9.0.0/24, tftp: tftp, append: "a\\nb"}}\nvms: {a: {image: amd64}}', /the command line holds a control character/],
    ['a folder that is not there', 'switches: {lan: {subnet: 10.9.0.0/24, tftp: nowhere}}\nvms: {a: {boot: net, nics: [{switch: lan}]}}', /nowhere' cannot be served/],
    ['a matrix of what cannot vary', 'vms: {a: {image: amd64}}\ntests: [{vm: a, run: x, matrix: {cpus: [1, 4]}}]', /tests\[0\]\.matrix\.cpus: there is no such field[^]*fields are image/],
    ['a matrix without a choice', 'vms: {a: {image: amd64}}\ntests: [{vm: a, run: x, matrix: {image: []}}]', /nothing to choose from/],
    ['a combination that is none', 'vms: {a: {image: amd64, nics: [{}]}}\ntests: [{vm: a, run: x, matrix: {model: [virtio, ne2k]}}]', /matrix\.model\[1\]: 'ne2k' is not known/],
    ['seeds that go backwards', 'vms: {a: {image: amd64}}\ntests: [{vm: a, run: x, seeds: 9..1}]', /9\.\.1 goes backwards/],
    ['no seeds', 'vms: {a: {image: amd64}}\ntests: [{vm: a, run: x, seeds: []}]', /there are no seeds/],
    ['too many runs', 'vms: {a: {image: amd64}}\ntests: [{vm: a, run: x, seeds: 1..600, matrix: {memory: [1M, 2M]}}]', /1200 runs, and 1000 are the most/],
    ['too many machines', 'vms: {a: {image: amd64, count: 1000}}', /from 1 to 64/],
  ])('refuses %s', async (_, text, message) => {
    const result = await cli(['lab', 'up', file('wrong.yaml', text)]);
    expect(result.stderr).toMatch(message);
    expect(result.code).toBe(125);
    expect(result.stderr).not.toContain('internal error');
  });
});
