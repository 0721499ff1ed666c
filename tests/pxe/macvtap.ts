// A virtual cable into a real Ethernet, without native code: a macvtap device is a character device whose reads and writes are frames. For tests;
// it needs root, iproute2 and the kernel's macvtap.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { FramePort } from '../../src/host/backends/backend.js';
import { finishFrame, setOffload } from '../../src/net/offload.js';

/** struct virtio_net_hdr, before each frame in both directions. */
const HEADER_BYTES = 10;
const NEEDS_CSUM = 1;

/** Reads of the device block, so a process of its own does them; it hands frames on with their length before them. */
const READER = `
const { readSync, writeSync } = require('node:fs');
const buffer = Buffer.alloc(70000);
for (;;) {
  const length = readSync(3, buffer, 4, 65536, null);
  buffer.writeUInt32BE(length, 0);
  for (let at = 0; at < length + 4;) at += writeSync(1, buffer, at, length + 4 - at);
}`;

export const ip = (...args: string[]): void => {
  const result = spawnSync('ip', args, { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`ip ${args.join(' ')}: ${result.stderr}`);
};

export class Macvtap implements FramePort {
  onFrame: ((frame: Uint8Array) => void) | undefined;
  readonly #fd: number;
  readonly #reader: ChildProcess;
  readonly #gone: Promise<unknown>;
  #pending = Buffer.alloc(0);

  /** Makes the device `name` with this address on the interface `on`. */
  constructor(readonly name: string, on: string, mac: string) {
    ip('link', 'add', 'link', on, 'name', name, 'address', mac, 'type', 'macvtap', 'mode', 'bridge');
    ip('link', 'set', name, 'up');
    this.#fd = openSync(`/dev/tap${readFileSync(`/sys/class/net/${name}/ifindex`, 'utf8').trim()}`, 'r+');
    this.#reader = spawn(process.execPath, ['-e', READER], { stdio: ['ignore', 'pipe', 'ignore', this.#fd] });
    this.#gone = new Promise(resolve => this.#reader.once('close', resolve));
    this.#reader.stdout!.on('data', (data: Buffer) => this.#receive(data));
  }

  send(frame: Uint8Array): void {
    const packet = new Uint8Array(HEADER_BYTES + frame.length);
    packet.set(frame, HEADER_BYTES);
    writeSync(this.#fd, packet);
  }

  #receive(data: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, data]);
    while (this.#pending.length >= 4) {
      const end = 4 + this.#pending.readUInt32BE(0);
      if (this.#pending.length < end) return;
      const packet = this.#pending.subarray(4, end);
      this.#pending = this.#pending.subarray(end);
      const frame = new Uint8Array(packet.subarray(HEADER_BYTES));
      // A sender on the same host leaves checksums and segments to a card that is not there.
      const [flags, gsoType] = packet;
      const offload = { csumStart: packet.readUInt16LE(6), csumOffset: packet.readUInt16LE(8), segmentBytes: gsoType === 0 ? 0 : packet.readUInt16LE(4) };
      const whole = flags & NEEDS_CSUM ? finishFrame(setOffload(frame, offload)) : [frame];
      for (const each of whole) this.onFrame?.(each);
    }
  }

  async close(): Promise<void> {
    this.#reader.kill('SIGKILL');
    await this.#gone;
    closeSync(this.#fd);
    ip('link', 'del', this.name);
  }
}

/** Whether these devices can be made here. */
export const canUseMacvtap = (): boolean => {
  const id = process.pid % 100_000;
  const names = [`vp${id}a`, `vp${id}t`];
  if (spawnSync('ip', ['link', 'add', names[0], 'type', 'veth', 'peer', 'name', `vp${id}b`]).status !== 0) return false;
  const made = spawnSync('ip', ['link', 'add', 'link', names[0], 'name', names[1], 'type', 'macvtap', 'mode', 'bridge']).status === 0;
  const usable = made && existsSync(`/dev/tap${readFileSync(`/sys/class/net/${names[1]}/ifindex`, 'utf8').trim()}`);
  spawnSync('ip', ['link', 'del', names[0]]);
  return usable;
};
