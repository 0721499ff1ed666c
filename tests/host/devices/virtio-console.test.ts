import { describe, expect, it } from 'vitest';
import { VmletError } from '../../../src/errors.js';
import { BufferedChar } from '../../../src/host/backends/char.js';
import { VirtioConsole, type VirtioConsoleOptions } from '../../../src/host/devices/virtio/console.js';
import { virtioFuzz } from '../../support/virtio-fuzz.js';
import { virtioRig } from '../../support/virtio-driver.js';

const MULTIPORT = 1n << 1n;
const CONTROL_RX = 2;
const CONTROL_TX = 3;
const READY = 0;
const ADD = 1;
const PORT_READY = 3;
const IS_CONSOLE = 4;
const RESIZE = 5;
const OPEN = 6;
const NAME = 7;

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (string: string): Uint8Array => new TextEncoder().encode(string);

const setup = (options: Partial<VirtioConsoleOptions> = {}, without = 0n) => {
  const terminal = new BufferedChar();
  const agent = new BufferedChar();
  const fn = new VirtioConsole({ ports: [{ backend: terminal }, { backend: agent, name: 'org.vmlet.agent' }], columns: 132, rows: 43, ...options });
  const rig = virtioRig(fn);
  rig.driver.start({ without });
  const { queues } = rig.driver;
  const post = (queue: number, count: number, room = 64) => {
    for (let i = 0; i < count; i++) queues[queue].add([{ room }]);
    queues[queue].kick();
  };
  const take = (queue: number) => queues[queue].completions().map(({ data, length }) => data.subarray(0, length));
  /** Control messages from the device: port, event, value and payload. */
  const messages = () =>
    take(CONTROL_RX).map(data => {
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      return [view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true), ...(data.length > 8 ? [data.slice(8)] : [])];
    });
  const control = (id: number, event: number, value: number) => {
    const out = new Uint8Array(8);
    const view = new DataView(out.buffer);
    view.setUint32(0, id, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    queues[CONTROL_TX].request([{ out }]);
  };
  return { ...rig, fn, terminal, agent, queues, post, take, messages, control };
};

describe('virtio-console without multiport', () => {
  it('is one console, both ways', () => {
    const { terminal, queues, post, take, driver } = setup({}, MULTIPORT);
    queues[1].request([{ out: bytes('hello ') }, { out: bytes('world') }]);
    expect(terminal.text).toBe('hello world');
    post(0, 2, 4);
    terminal.send('abcdefghij');
    expect(take(0).map(text)).toEqual(['abcd', 'efgh']);
    expect(terminal.pending).toBe(2);
    expect(driver.takeMessages(1)).toBe(1);
    post(0, 1);
    expect(take(0).map(text)).toEqual(['ij']);
    expect(terminal.guestIsOpen).toBe(true);
  });

  it('tells its size in configuration space, and changes of it', () => {
    const { driver, terminal } = setup({}, MULTIPORT);
    expect([driver.config(0, 2), driver.config(2, 2)]).toEqual([132, 43]);
    const generation = driver.common(0x15, 1);
    terminal.resize(80, 25);
    expect([driver.config(0, 2), driver.config(2, 2)]).toEqual([80, 25]);
    expect(driver.common(0x15, 1)).not.toBe(generation);
    expect(driver.takeMessages(0)).toBe(1);
  });

  it('prints through the emergency register', () => {
    const { driver, terminal } = setup({}, MULTIPORT);
    driver.setConfig(8, 4, 0x21);
    driver.setConfig(8, 1, 0x22);
    expect(terminal.text).toBe('!"');
  });
});

describe('virtio-console with multiport', () => {
  it('introduces its ports as Linux expects', () => {
    const { driver, post, control, messages } = setup();
    expect(driver.config(4, 4)).toBe(2);
    expect(driver.common(0x12, 2)).toBe(6);
    post(CONTROL_RX, 16);
    control(0, READY, 1);
    expect(messages()).toEqual([[0, ADD, 1], [1, ADD, 1]]);
    control(0, PORT_READY, 1);
    expect(messages()).toEqual([[0, IS_CONSOLE, 1], [0, RESIZE, 0, Uint8Array.of(132, 0, 43, 0)], [0, OPEN, 1]]);
    control(1, PORT_READY, 1);
    expect(messages()).toEqual([[1, NAME, 1, bytes('org.vmlet.agent\0')], [1, OPEN, 1]]);
  });

  it('keeps control messages until there is room for them', () => {
    const { post, control, messages, driver } = setup();
    control(0, READY, 1);
    control(0, PORT_READY, 1);
    expect(messages()).toEqual([]);
    post(CONTROL_RX, 3);
    expect(messages().map(([, event]) => event)).toEqual([ADD, ADD, IS_CONSOLE]);
    post(CONTROL_RX, 3);
    expect(messages().map(([, event]) => event)).toEqual([RESIZE, OPEN]);
    const ready = () => control(0, PORT_READY, 1);
    expect(() => Array.from({ length: 2000 }, ready)).toThrow(/0 completions/);
    expect(driver.status & 0x40).toBe(0x40);
  });

  it('carries bytes on a named port once the guest has opened it', () => {
    const { agent, terminal, queues, post, take, control } = setup();
    post(CONTROL_RX, 16);
    control(0, READY, 1);
    control(1, PORT_READY, 1);
    agent.send('early');
    post(4, 4);
    expect(take(4)).toEqual([]);
    control(1, OPEN, 1);
    expect(agent.guestIsOpen).toBe(true);
    expect(take(4).map(text)).toEqual(['early']);
    queues[5].request([{ out: bytes('reply') }], true);
    expect(agent.text).toBe('reply');
    expect(terminal.text).toBe('');
    control(1, OPEN, 0);
    expect(agent.guestIsOpen).toBe(false);
    agent.send('late');
    expect(take(4)).toEqual([]);
    control(1, OPEN, 1);
    expect(take(4).map(text)).toEqual(['late']);
  });

  it('drops nothing under back-pressure', () => {
    const { terminal, post, take, control } = setup();
    post(CONTROL_RX, 16);
    control(0, READY, 1);
    control(0, PORT_READY, 1);
    control(0, OPEN, 1);
    const sent = Uint8Array.from({ length: 10_000 }, (_, i) => (i * 31) & 0xff);
    terminal.send(sent);
    const got: number[] = [];
    for (let round = 0; got.length < sent.length && round < 1000; round++) {
      post(0, 1 + (round % 7), 1 + (round % 50));
      for (const piece of take(0)) got.push(...piece);
    }
    expect(Uint8Array.from(got)).toEqual(sent);
  });

  it('tells the guest when the host closes its end or the window changes', () => {
    const { agent, terminal, post, control, messages } = setup({ resizeOrder: 'rows-first' });
    post(CONTROL_RX, 32);
    agent.setOpen(false);
    control(0, READY, 1);
    control(0, PORT_READY, 1);
    control(1, PORT_READY, 1);
    expect(messages().filter(([id, event]) => id === 1 && event === OPEN)).toEqual([]);
    agent.setOpen(true);
    agent.setOpen(true);
    agent.setOpen(false);
    expect(messages()).toEqual([[1, OPEN, 1], [1, OPEN, 0]]);
    terminal.resize(100, 50);
    expect(messages()).toEqual([[0, RESIZE, 0, Uint8Array.of(50, 0, 100, 0)]]);
  });

  it('closes ports on reset', () => {
    const { agent, post, control, driver } = setup();
    post(CONTROL_RX, 16);
    control(0, READY, 1);
    control(1, PORT_READY, 1);
    control(1, OPEN, 1);
    driver.status = 0;
    expect(agent.guestIsOpen).toBe(false);
  });

  it('reports messages that make no sense', () => {
    const { control, queues, rig } = setup();
    control(77, PORT_READY, 1);
    control(0, 99, 1);
    control(0, PORT_READY, 0);
    queues[CONTROL_TX].request([{ out: new Uint8Array(3) }]);
    expect(rig.log.counts.size).toBe(4);
  });

  it('restores ports and waiting messages', () => {
    const { device, agent, rig, driver, queues, post, control, messages } = setup();
    control(0, READY, 1);
    control(1, PORT_READY, 1);
    control(1, OPEN, 1);
    agent.setOpen(false);
    const state = structuredClone(device.save());
    const memory = rig.memory.view(0, rig.memory.size)!.slice();
    driver.status = 0;
    expect(agent.guestIsOpen).toBe(false);
    rig.memory.write(0, memory);
    device.restore(state);
    expect(agent.guestIsOpen).toBe(true);
    expect(device.save()).toEqual(state);
    expect(queues.length).toBe(6);
    post(CONTROL_RX, 16);
    expect(messages().map(([id, event, value]) => [id, event, value])).toEqual([[0, ADD, 1], [1, ADD, 1], [1, NAME, 1], [1, OPEN, 1], [1, OPEN, 0]]);
  });

  it('has 1 to 31 ports', () => {
    expect(() => new VirtioConsole({ ports: [] })).toThrow(VmletError);
    expect(() => new VirtioConsole({ ports: Array.from({ length: 32 }, () => ({ backend: new BufferedChar() })) })).toThrow(VmletError);
    const { driver } = setup({ ports: Array.from({ length: 31 }, () => ({ backend: new BufferedChar() })) }, 0n);
    expect(driver.common(0x12, 2)).toBe(64);
  });
});

virtioFuzz('virtio-console', () => {
  const terminal = new BufferedChar(1000);
  const agent = new BufferedChar(1000);
  const fn = new VirtioConsole({ ports: [{ backend: terminal }, { backend: agent, name: 'agent' }] });
  return {
    fn,
    poke: random => {
      const port = random.pick([terminal, agent]);
      if (random.below(3) === 0) port.resize(random.below(200), random.below(100));
      else if (random.below(3) === 0) port.setOpen(random.below(2) === 0);
      else if (port.pending < 1000) port.send(new Uint8Array(random.below(300)));
    },
  };
});
