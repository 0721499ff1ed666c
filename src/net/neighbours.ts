import type { Timer } from '../host/clock.js';
import type { Ipv4, Mac } from './address.js';
import type { TimerQueue } from './timers.js';

// RFC 1122, 2.3.2: a cache of addresses that forgets, and holds packets while it asks.

const AGE_NS = 300e9;
const MAX_NEIGHBOURS = 4096;
const MAX_WAITING = 32;
const ASK_INTERVAL_NS = 1e9;
const ASK_TIMES = 3;

interface Neighbour {
  readonly mac: Mac;
  readonly expiresNs: number;
}

interface Question {
  readonly waiting: ((mac: Mac | undefined) => void)[];
  readonly timer: Timer;
  asked: number;
}

/** Who has which address. `ask` sends an ARP request. */
export class Neighbours {
  readonly #clock: TimerQueue;
  readonly #ask: (address: Ipv4) => void;
  /** Least recently learned first. */
  readonly #known = new Map<Ipv4, Neighbour>();
  readonly #questions = new Map<Ipv4, Question>();

  constructor(clock: TimerQueue, ask: (address: Ipv4) => void) {
    this.#clock = clock;
    this.#ask = ask;
  }

  learn(address: Ipv4, mac: Mac): void {
    this.#known.delete(address);
    if (this.#known.size >= MAX_NEIGHBOURS) {
      const first = this.#known.keys().next();
      if (first.done !== true) this.#known.delete(first.value);
    }
    this.#known.set(address, { mac: mac.slice(), expiresNs: this.#clock.now + AGE_NS });
    const question = this.#questions.get(address);
    if (question === undefined) return;
    question.timer.disarm();
    this.#questions.delete(address);
    for (const resume of question.waiting) resume(mac);
  }

  /** Unlike `learn`, cheap for an address that is known well enough. */
  heard(address: Ipv4, mac: Mac): void {
    const known = this.#known.get(address);
    if (known !== undefined && known.expiresNs - this.#clock.now > AGE_NS / 2 && known.mac.every((octet, i) => octet === mac[i])) return;
    this.learn(address, mac);
  }

  lookup(address: Ipv4): Mac | undefined {
    const known = this.#known.get(address);
    return known !== undefined && known.expiresNs > this.#clock.now ? known.mac : undefined;
  }

  /** Calls back with the address, at once or later, or with undefined when nobody answers. */
  resolve(address: Ipv4, resume: (mac: Mac | undefined) => void): void {
    const mac = this.lookup(address);
    if (mac !== undefined) {
      resume(mac);
      return;
    }
    const question = this.#questions.get(address);
    if (question !== undefined) {
      if (question.waiting.length < MAX_WAITING) question.waiting.push(resume);
      return;
    }
    if (this.#questions.size >= MAX_NEIGHBOURS) return;
    const fresh: Question = { waiting: [resume], timer: this.#clock.timer(() => this.#again(address, fresh)), asked: 1 };
    this.#questions.set(address, fresh);
    fresh.timer.arm(this.#clock.now + ASK_INTERVAL_NS);
    this.#ask(address);
  }

  #again(address: Ipv4, question: Question): void {
    if (question.asked++ < ASK_TIMES) {
      question.timer.arm(this.#clock.now + ASK_INTERVAL_NS);
      this.#ask(address);
      return;
    }
    this.#questions.delete(address);
    for (const resume of question.waiting) resume(undefined);
  }

  /** What is known, most recently learned last. */
  list(): { address: Ipv4; mac: Mac }[] {
    const { now } = this.#clock;
    return [...this.#known].filter(([, known]) => known.expiresNs > now).map(([address, { mac }]) => ({ address, mac }));
  }
}
