import { expect, it } from 'vitest';
import { Prng } from '../../../src/host/backends/entropy.js';
import { concat } from '../../../src/net/bytes.js';
import type { Impairment } from '../../../src/net/impair.js';
import type { TcpConnection } from '../../../src/net/tcp/connection.js';
import type { TcpConnectionOptions } from '../../../src/net/tcp/types.js';
import { pattern, TestNet } from '../support.js';

// Streams arrive intact whatever the wire, the buffers, the segment sizes and the speed of the readers.

const SEEDS = 60;

class Side {
  connection: TcpConnection | undefined;
  readonly received: Uint8Array[] = [];
  closed: string | undefined;
  #unconsumed = 0;
  #sent = 0;
  #writable = true;
  #ended = false;

  constructor(
    readonly data: Uint8Array,
    readonly options: TcpConnectionOptions,
    readonly random: Prng,
  ) {}

  readonly events = {
    onData: (bytes: Uint8Array): void => {
      this.received.push(bytes);
      this.#unconsumed += bytes.length;
    },
    onDrain: (): void => void (this.#writable = true),
    onClose: (reason: string): void => void (this.closed = reason),
  };

  step(): void {
    const { connection, data, random } = this;
    if (connection === undefined) return;
    while (this.#writable && this.#sent < data.length && random.below(4) > 0) {
      const end = Math.min(data.length, this.#sent + 1 + random.below(random.below(2) === 0 ? 50 : 20_000));
      this.#writable = connection.write(data.subarray(this.#sent, end));
      this.#sent = end;
    }
    if (this.#sent === data.length && !this.#ended) {
      this.#ended = true;
      connection.end();
    }
    if (this.options.manualConsume === true && this.#unconsumed > 0 && random.below(3) > 0) {
      const count = 1 + random.below(this.#unconsumed);
      this.#unconsumed -= count;
      connection.consume(count);
    }
  }
}

const run = (seed: number): { a: Side; b: Side } => {
  const random = new Prng(seed, 'property');
  const net = new TestNet(seed);
  const impair: Impairment = {
    loss: random.float() * 0.2,
    duplicate: random.float() * 0.2,
    reorder: random.float() * 0.3,
    reorderNs: random.below(20e6),
    delayNs: random.below(50e6),
    jitterNs: random.below(20e6),
    ...(random.below(2) === 0 ? {} : { bandwidth: 1e6 + random.below(1e8), queueBytes: 3000 + random.below(100_000) }),
  };
  const hostA = net.host({}, { impair });
  const hostB = net.host();
  hostA.neighbours.learn(hostB.address, hostB.mac);
  hostB.neighbours.learn(hostA.address, hostA.mac);
  const options = (): TcpConnectionOptions => ({
    receiveBytes: 500 + random.below(300_000),
    sendBytes: 1000 + random.below(100_000),
    mss: 100 + random.below(1360),
    manualConsume: random.below(2) === 0,
    retries: 40,
  });
  const a = new Side(pattern(random.below(100_000), seed), options(), random);
  const b = new Side(pattern(random.below(100_000), seed + 9), options(), random);
  hostB.tcp.listen(80, incoming => void (b.connection = incoming.accept(b.events, b.options)));
  hostA.batch(() => void (a.connection = hostA.tcp.connect(hostA.address, { address: hostB.address, port: 80 }, a.events, a.options)));
  for (let rounds = 0; rounds < 60_000 && (a.closed === undefined || b.closed === undefined); rounds++) {
    a.step();
    b.step();
    net.run(5 + random.below(30));
  }
  return { a, b };
};

it(`carries both streams intact in ${SEEDS} random settings`, () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { a, b } = run(seed);
    const outcome = [Buffer.compare(concat(b.received), a.data), Buffer.compare(concat(a.received), b.data), a.closed, b.closed];
    expect(outcome, `seed ${seed}`).toEqual([0, 0, 'closed', 'closed']);
  }
});
