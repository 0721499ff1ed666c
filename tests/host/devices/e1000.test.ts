import { describe, expect, it } from 'vitest';
import { E1000 } from '../../../src/host/devices/net/e1000.js';
import * as R from '../../../src/host/devices/net/e1000-registers.js';
import { decodeEthernet } from '../../../src/net/ethernet.js';
import { decodeIpv4, encodeIpv4 } from '../../../src/net/ipv4.js';
import { decodeTcp, encodeTcp, NO_OPTIONS } from '../../../src/net/tcp/segment.js';
import { deviceContract } from '../../support/device-contract.js';
import { BROADCAST, frameTo, MAC, nicRig, nicSubject, PEER } from '../../support/nic-rig.js';

const make = (context: ConstructorParameters<typeof E1000>[0]) => new E1000(context);
const RX_RING = 0x1000;
const TX_RING = 0x2000;
const RX_BUFFERS = 0x1_0000;
const TX_BUFFERS = 0x8_0000;
const COUNT = 8;
const SRC = 0x0a00_0001;
const DST = 0x0a00_0002;

/** What a driver does with the card. */
class Driver {
  readonly rig = nicRig(make);
  #tail = 0;
  #next = 0;

  get = (register: number): number => this.rig.device.read(register, 4, 0);
  set = (register: number, value: number): void => this.rig.device.write(register, value >>> 0, 4, 0);

  constructor(rctl = R.RCTL_EN | R.RCTL_BAM) {
    const { memory } = this.rig;
    for (let i = 0; i < COUNT; i++) memory.writeU64(RX_RING + 16 * i, BigInt(RX_BUFFERS + 4096 * i));
    for (const [register, value] of [
      [R.RDBAL, RX_RING], [R.RDBAH, 0], [R.RDLEN, 16 * COUNT], [R.RDH, 0], [R.RDT, COUNT - 1],
      [R.TDBAL, TX_RING], [R.TDBAH, 0], [R.TDLEN, 16 * COUNT], [R.TDH, 0], [R.TDT, 0],
      [R.RCTL, rctl], [R.TCTL, R.TCTL_EN | R.TCTL_PSP], [R.IMS, R.INT_RXT0 | R.INT_TXDW | R.INT_LSC | R.INT_RXDMT0],
    ]) this.set(register, value);
  }

  /** Puts a descriptor into the ring. */
  put(address: number, lower: number, upper = 0): void {
    const { memory } = this.rig;
    const at = TX_RING + 16 * this.#tail;
    memory.writeU32(at, address);
    memory.writeU32(at + 4, 0);
    memory.writeU32(at + 8, lower >>> 0);
    memory.writeU32(at + 12, upper >>> 0);
    this.#tail = (this.#tail + 1) % COUNT;
  }

  kick(): void {
    this.set(R.TDT, this.#tail);
  }

  /** A context descriptor for TCP over IPv4 without options. */
  putContext(payloadBytes: number, mss: number, command: number): void {
    this.put(14 | (24 << 8) | (33 << 16), payloadBytes | (command << 24) | (1 << 29), (54 << 8) | (mss << 16));
    const at = TX_RING + 16 * ((this.#tail + COUNT - 1) % COUNT);
    this.rig.memory.writeU32(at + 4, 34 | (50 << 8));
  }

  /** The frames that were received since the last call: bytes, status and errors of the last descriptor. */
  take(): { bytes: Uint8Array; status: number; errors: number; special: number }[] {
    const { memory } = this.rig;
    const frames = [];
    let parts: number[] = [];
    for (; memory.readU32(RX_RING + 16 * this.#next + 12) & 1; this.#next = (this.#next + 1) % COUNT) {
      const at = RX_RING + 16 * this.#next;
      const word = memory.readU32(at + 12);
      const piece = new Uint8Array(memory.readU32(at + 8) & 0xffff);
      memory.read(RX_BUFFERS + 4096 * this.#next, piece);
      parts = [...parts, ...piece];
      memory.writeU32(at + 12, 0);
      this.set(R.RDT, this.#next);
      if (word & 2) {
        frames.push({ bytes: Uint8Array.from(parts), status: word & 0xff, errors: (word >>> 8) & 0xff, special: word >>> 16 });
        parts = [];
      }
    }
    return frames;
  }
}

const tcpFrame = (payload: Uint8Array): Uint8Array => {
  const segment = encodeTcp({ srcPort: 1, dstPort: 2, seq: 0xffff_ff00, ack: 9, flags: 0x19, window: 100, urgent: 0, payload, options: NO_OPTIONS }, SRC, DST);
  const packet = encodeIpv4({ src: SRC, dst: DST, protocol: 6, ttl: 64, id: 0xffff, tos: 0, dontFragment: true, moreFragments: false, fragmentOffset: 0, options: new Uint8Array(0), payload: segment });
  const frame = frameTo(PEER, 14 + packet.length, 0x0800);
  frame.set(packet, 14);
  return frame;
};

deviceContract('e1000', () => nicSubject(make));

describe('e1000', () => {
  it('gives its address by EEPROM, bit by bit and by register, and in its filter', () => {
    const { get, set } = new Driver();
    const shift = (bits: number, count: number) => {
      for (let i = count - 1; i >= 0; i--) {
        const data = (bits >> i) & 1 ? R.EECD_DI : 0;
        for (const clock of [0, R.EECD_SK, 0]) set(R.EECD, R.EECD_REQ | R.EECD_CS | data | clock);
      }
    };
    const readWord = (word: number): number => {
      set(R.EECD, R.EECD_REQ);
      expect(get(R.EECD) & R.EECD_GNT).toBe(R.EECD_GNT);
      set(R.EECD, R.EECD_REQ | R.EECD_CS);
      shift(0b110, 3);
      shift(word, 6);
      let value = 0;
      for (let i = 0; i < 16; i++) {
        set(R.EECD, R.EECD_REQ | R.EECD_CS | R.EECD_SK);
        value = (value << 1) | (get(R.EECD) & R.EECD_DO ? 1 : 0);
        set(R.EECD, R.EECD_REQ | R.EECD_CS);
      }
      set(R.EECD, 0);
      return value;
    };
    const words = Array.from({ length: 64 }, (_, word) => {
      set(R.EERD, (word << 8) | R.EERD_START);
      expect(get(R.EERD) & R.EERD_DONE).toBe(R.EERD_DONE);
      return get(R.EERD) >>> 16;
    });
    expect(words.reduce((sum, word) => sum + word, 0) & 0xffff).toBe(0xbaba);
    expect([0, 1, 2, 13, 63].map(readWord)).toEqual([0, 1, 2, 13, 63].map(word => words[word]));
    expect(words.slice(0, 3).flatMap(word => [word & 0xff, word >> 8])).toEqual([...MAC]);
    expect([get(R.RAL), get(R.RAL + 4)]).toEqual([0x1200_5452, 0x8000_5634]);
  });

  it('has a PHY with a link, by which it tells when the cable is pulled', () => {
    const { get, set, rig } = new Driver();
    const phy = (register: number) => {
      set(R.MDIC, (2 << 26) | (1 << 21) | (register << 16));
      expect(get(R.MDIC) & (R.MDIC_READY | R.MDIC_ERROR)).toBe(R.MDIC_READY);
      return get(R.MDIC) & 0xffff;
    };
    expect([phy(2), phy(3), phy(1) & 0x24]).toEqual([0x0141, 0x0c20, 0x24]);
    expect(get(R.STATUS) & 0xc3).toBe(0x83);
    rig.device.setLink(false);
    expect([get(R.ICR), phy(1) & 4, get(R.STATUS) & 2]).toEqual([R.INT_LSC, 0, 0]);
    set(R.MDIC, (2 << 26) | (2 << 21));
    expect(get(R.MDIC) & R.MDIC_ERROR).not.toBe(0);
  });

  it('answers through its I/O ports', () => {
    const { get, rig } = new Driver();
    rig.device.write(0, R.RDLEN, 4, 1);
    expect(rig.device.read(4, 4, 1)).toBe(16 * COUNT);
    rig.device.write(0, R.CTRL, 4, 1);
    rig.device.write(4, 1 << 26, 4, 1);
    expect([get(R.RDLEN), get(R.IMS), get(R.RCTL)]).toEqual([0, 0, 0]);
  });

  it('sends by legacy descriptors, padded, and reports what is done', () => {
    const driver = new Driver();
    const { rig } = driver;
    rig.memory.write(TX_BUFFERS, frameTo(PEER, 42));
    driver.put(TX_BUFFERS, 20);
    driver.put(TX_BUFFERS + 20, 22 | 0x0b00_0000);
    driver.kick();
    expect(rig.sent).toHaveLength(1);
    expect(rig.sent[0].subarray(0, 42)).toEqual(frameTo(PEER, 42));
    expect([rig.sent[0].length, rig.memory.readU32(TX_RING + 16 + 12) & 1, rig.memory.readU32(TX_RING + 12) & 1]).toEqual([60, 1, 0]);
    expect([rig.irq.level, driver.get(R.ICR), rig.irq.level]).toEqual([true, R.INT_TXDW | R.INT_TXQE, false]);
    expect([driver.get(R.STATISTICS + R.STAT_GPTC), driver.get(R.STATISTICS + R.STAT_GPTC), driver.get(R.STATISTICS + R.STAT_GOTCL)]).toEqual([1, 0, 64]);
  });

  it('inserts checksums where a descriptor says', () => {
    const driver = new Driver();
    const frame = frameTo(PEER, 100);
    frame.set([0, 0], 40);
    driver.rig.memory.write(TX_BUFFERS, frame);
    driver.put(TX_BUFFERS, 100 | (40 << 16) | 0x0d00_0000, 20 << 8);
    driver.kick();
    let sum = 0;
    const [sent] = driver.rig.sent;
    for (let i = 20; i < 100; i += 2) sum += (sent[i] << 8) | sent[i + 1];
    expect(sum % 0xffff).toBe(0);
    expect(sent.subarray(0, 40)).toEqual(frame.subarray(0, 40));
  });

  it('completes TCP checksums by context and data descriptors', () => {
    const driver = new Driver();
    const whole = tcpFrame(Uint8Array.from({ length: 99 }, (_, i) => i));
    const frame = whole.slice();
    // The driver leaves the pseudo-header's sum, folded and not inverted.
    const length = frame.length - 34;
    let sum = 0x0a00 + 1 + 0x0a00 + 2 + 6 + length;
    sum = (sum & 0xffff) + (sum >>> 16);
    frame.set([0xff, 0xff], 24);
    frame.set([sum >> 8, sum & 0xff], 50);
    driver.rig.memory.write(TX_BUFFERS, frame);
    driver.putContext(0, 0, 0x03);
    driver.put(TX_BUFFERS, frame.length | (1 << 20) | (0x29 << 24), 0x0300);
    driver.kick();
    expect(driver.rig.sent).toEqual([whole]);
  });

  it('cuts a large TCP packet into segments', () => {
    const driver = new Driver();
    const payload = Uint8Array.from({ length: 3500 }, (_, i) => (i * 31) >> 3);
    const frame = tcpFrame(payload);
    frame.set([0, 0, ...frame.subarray(18, 24), 0, 0], 16);
    let sum = 0x0a00 + 1 + 0x0a00 + 2 + 6;
    sum = (sum & 0xffff) + (sum >>> 16);
    frame.set([sum >> 8, sum & 0xff], 50);
    driver.rig.memory.write(TX_BUFFERS, frame);
    driver.putContext(3500, 1460, 0x07);
    driver.put(TX_BUFFERS, 54 | (1 << 20) | (0x24 << 24), 0x0300);
    driver.put(TX_BUFFERS + 54, 3500 | (1 << 20) | (0x2d << 24), 0x0300);
    driver.kick();
    const segments = driver.rig.sent.map(sent => {
      const packet = decodeIpv4(decodeEthernet(sent)!.payload)!;
      return { id: packet.id, tcp: decodeTcp(packet.payload, packet.src, packet.dst)! };
    });
    expect(segments.map(({ id, tcp }) => [id, tcp.flags, tcp.payload.length])).toEqual([[0xffff, 0x10, 1460], [0, 0x10, 1460], [1, 0x19, 580]]);
    expect(segments.map(({ tcp }) => tcp.seq)).toEqual([0xffff_ff00, 0x4b4, 0xa68]);
    expect(Uint8Array.from(segments.flatMap(({ tcp }) => [...tcp.payload]))).toEqual(payload);
    expect(driver.get(R.STATISTICS + R.STAT_TSCTC)).toBe(1);
  });

  it('receives with a check sequence, over several buffers, and tells by interrupt', () => {
    const driver = new Driver(R.RCTL_EN | R.RCTL_BAM | (2 << 16));
    driver.rig.wire.send(frameTo(BROADCAST, 42));
    driver.rig.wire.send(frameTo(MAC, 1200));
    expect(driver.rig.irq.level).toBe(true);
    expect(driver.get(R.ICR) & R.INT_RXT0).toBe(R.INT_RXT0);
    const [small, large] = driver.take();
    expect([small.bytes.length, large.bytes.length]).toEqual([64, 1204]);
    expect(small.bytes.subarray(0, 42)).toEqual(frameTo(BROADCAST, 42));
    expect(large.bytes.subarray(0, 1200)).toEqual(frameTo(MAC, 1200));
    expect([driver.get(R.STATISTICS + R.STAT_GPRC), driver.get(R.STATISTICS + R.STAT_BPRC)]).toEqual([2, 1]);
  });

  it('keeps frames while there are no buffers, up to its memory, and counts those it loses', () => {
    const driver = new Driver();
    for (let i = 0; i < 800; i++) driver.rig.wire.send(frameTo(MAC, 1500));
    const lost = driver.get(R.STATISTICS + 0x10);
    expect(lost).toBe(800 - 7 - Math.floor((1 << 20) / 1500));
    let received = 0;
    for (let got = driver.take(); got.length > 0; got = driver.take()) received += got.length;
    expect(received).toBe(800 - lost);
  });

  it('filters by address, multicast hash and VLAN', () => {
    const driver = new Driver(R.RCTL_EN);
    const group = Uint8Array.of(0x01, 0, 0x5e, 1, 2, 3);
    const counts = () => driver.take().length;
    const send = () => [BROADCAST, group, PEER, MAC].forEach(to => driver.rig.wire.send(frameTo(to)));
    send();
    expect(counts()).toBe(1);
    const hash = ((3 << 8) | 2) >> 4;
    driver.set(R.MTA + 4 * (hash >> 5), 1 << (hash & 31));
    send();
    expect(counts()).toBe(2);
    driver.set(R.RCTL, R.RCTL_EN | R.RCTL_UPE | R.RCTL_MPE);
    send();
    expect(counts()).toBe(4);
    driver.set(R.RCTL, R.RCTL_EN | R.RCTL_VFE);
    driver.set(R.VFTA, 1 << 5);
    const tagged = (vid: number) => {
      const frame = frameTo(MAC, 64, 0x8100);
      frame.set([0, vid], 14);
      return frame;
    };
    driver.set(R.CTRL, R.CTRL_SLU | R.CTRL_VME);
    driver.rig.wire.send(tagged(5));
    driver.rig.wire.send(tagged(6));
    const [only, ...rest] = driver.take();
    expect([rest.length, only.special, only.status & 8, only.bytes[12]]).toEqual([0, 5, 8, tagged(5)[16]]);
  });

  it('checks the checksums of what it receives', () => {
    const driver = new Driver(R.RCTL_EN | R.RCTL_UPE);
    driver.set(R.RXCSUM, R.RXCSUM_IPOFL | R.RXCSUM_TUOFL);
    const good = tcpFrame(Uint8Array.from({ length: 33 }, (_, i) => i));
    const bad = good.slice();
    bad[70] ^= 1;
    const header = good.slice();
    header[22] ^= 1;
    for (const frame of [good, bad, header, frameTo(PEER)]) driver.rig.wire.send(frame);
    expect(driver.take().map(({ status, errors }) => [status & 0x64, errors])).toEqual([[0x60, 0], [0x60, 0x20], [0x60, 0x40], [0x04, 0]]);
  });

  it('spaces interrupts by ITR', () => {
    const driver = new Driver();
    driver.set(R.ITR, 1000);
    const { rig } = driver;
    rig.wire.send(frameTo(MAC));
    expect([rig.irq.rises, driver.get(R.ICR) & R.INT_RXT0]).toEqual([1, R.INT_RXT0]);
    rig.wire.send(frameTo(MAC));
    rig.clock.advance(255_999);
    expect(rig.irq.rises).toBe(1);
    rig.clock.advance(1);
    expect(rig.irq.rises).toBe(2);
  });

  it('loops back', () => {
    const driver = new Driver(R.RCTL_EN | R.RCTL_LBM);
    driver.rig.memory.write(TX_BUFFERS, frameTo(MAC));
    driver.put(TX_BUFFERS, 60 | 0x0900_0000);
    driver.kick();
    expect([driver.rig.sent.length, driver.take().length]).toEqual([0, 1]);
  });

  it('reports rings, packets and segmentations that make no sense', () => {
    const driver = new Driver();
    const { log } = driver.rig;
    driver.set(R.TDH, 100);
    driver.set(R.TDT, 1);
    driver.set(R.TDH, 0);
    driver.set(R.TDT, 0);
    driver.putContext(0, 0, 0x07);
    driver.put(TX_BUFFERS, 100 | (1 << 20) | (0x2d << 24));
    driver.put(TX_BUFFERS, 5 | 0x0900_0000);
    driver.kick();
    driver.set(R.RDH, 200);
    driver.rig.wire.send(frameTo(MAC));
    expect([...log.counts.keys()].map(key => key.slice(7))).toEqual([
      'transmit ring index outside the ring', 'segmentation of 100 bytes into 0 behind a header of 54', 'frame of 5 bytes', 'receive ring index outside the ring',
    ]);
  });
});
