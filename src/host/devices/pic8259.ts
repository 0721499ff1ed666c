import { type IrqLine, NO_IRQ } from '../irq.js';
import { readBytes, writeBytes } from './bytes.js';
import { type AccessSize, type Device, openBus, type Region } from './device.js';
import { clone, validated } from './state.js';

// Intel 8259A data sheet (order 231468); the edge/level registers are those of the EISA and PIIX bridges.

const ICW1_IC4 = 0x01;
const ICW1_SNGL = 0x02;
const ICW1_INIT = 0x10;
const ICW4_AEOI = 0x02;
const ICW4_SFNM = 0x10;
const OCW2_EOI = 0x20;
const OCW2_SL = 0x40;
const OCW2_R = 0x80;
const OCW3_RIS = 0x01;
const OCW3_RR = 0x02;
const OCW3_P = 0x04;
const OCW3_SELECT = 0x08;
const OCW3_SMM = 0x20;
const OCW3_ESMM = 0x40;

const CASCADE = 2;
/** IRQ 0, 1, 2, 8 and 13 are edge-triggered on every PC. */
const ELCR_WRITABLE = [0xf8, 0xde];

/** One chip. Masks have bit n for input n. */
interface ChipState {
  irr: number;
  isr: number;
  imr: number;
  /** Levels of the inputs; an edge is a change here. */
  lines: number;
  elcr: number;
  vectorBase: number;
  /** The initialisation word that is due: 0 for none, 2 to 4. */
  icw: number;
  needsIcw4: boolean;
  single: boolean;
  autoEoi: boolean;
  rotateOnAutoEoi: boolean;
  specialFullyNested: boolean;
  specialMask: boolean;
  readIsr: boolean;
  poll: boolean;
  /** The input with the highest priority. */
  first: number;
}

export interface Pic8259State {
  chips: ChipState[];
}

const initialChip = (): ChipState => ({
  irr: 0,
  isr: 0,
  imr: 0,
  lines: 0,
  elcr: 0,
  vectorBase: 0,
  icw: 0,
  needsIcw4: false,
  single: false,
  autoEoi: false,
  rotateOnAutoEoi: false,
  specialFullyNested: false,
  specialMask: false,
  readIsr: false,
  poll: false,
  first: 0,
});

const initial = (): Pic8259State => ({ chips: [initialChip(), initialChip()] });

export interface Pic8259Options {
  name?: string;
  /** INTR towards the CPU or LINT0. */
  intr?: IrqLine;
}

/**
 * The PC's two cascaded interrupt controllers. Regions: 0 master (port 0x20, 2 bytes), 1 slave (0xA0, 2 bytes), 2 edge/level
 * control (0x4D0, 2 bytes). An edge request that goes away before it is acknowledged is withdrawn, as the data sheet says.
 */
export class Pic8259 implements Device<Pic8259State> {
  readonly name: string;
  readonly regions: readonly Region[] = [
    { space: 'pio', size: 2 },
    { space: 'pio', size: 2 },
    { space: 'pio', size: 2 },
  ];
  readonly #intr: IrqLine;
  #s = initial();

  constructor(options: Pic8259Options = {}) {
    this.name = options.name ?? 'pic';
    this.#intr = options.intr ?? NO_IRQ;
  }

  /** Input `n` of the pair, 0 to 15. Input 2 is the cascade: what is set there is dropped. */
  line(n: number): IrqLine {
    if (n === CASCADE) return NO_IRQ;
    return { set: level => this.#setLine(n, level) };
  }

  /** Whether the pair asks for an interrupt. */
  get pending(): boolean {
    return highest(this.#s.chips[0], true) >= 0;
  }

  /** The CPU's interrupt acknowledge: the vector, 0 to 255. With nothing pending it is that of IRQ 7 (or 15), the spurious one. */
  acknowledge(): number {
    const [master, slave] = this.#s.chips;
    let input = highest(master, true);
    let vector: number;
    if (input === CASCADE && !master.single) {
      const slaveInput = highest(slave, false);
      if (slaveInput >= 0) accept(slave, slaveInput);
      vector = slave.vectorBase + (slaveInput < 0 ? 7 : slaveInput);
      accept(master, CASCADE);
      this.#dropCascade();
    } else {
      if (input < 0) input = 7;
      else accept(master, input);
      vector = master.vectorBase + input;
    }
    this.#updateIrq();
    return vector;
  }

  read(offset: number, size: AccessSize, region: number): number {
    if (size !== 1) return readBytes(offset, size, at => (at < 2 ? this.read(at, 1, region) : 0xff));
    const chip = this.#s.chips[region];
    if (chip === undefined) return this.#s.chips[offset]?.elcr ?? openBus(1);
    if (chip.poll) return this.#poll(chip, region === 0);
    if (offset === 1) return chip.imr;
    return chip.readIsr ? chip.isr : chip.irr;
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    if (size !== 1) {
      writeBytes(offset, value, size, (at, byte) => {
        if (at < 2) this.write(at, byte, 1, region);
      });
      return;
    }
    const chip = this.#s.chips[region];
    if (chip === undefined) this.#writeElcr(offset, value);
    else if (offset === 1) this.#writeData(chip, value);
    else if ((value & ICW1_INIT) !== 0) initialise(chip, value, region === 0);
    else if ((value & OCW3_SELECT) !== 0) writeOcw3(chip, value);
    else writeOcw2(chip, value);
    this.#updateIrq();
  }

  reset(): void {
    const lines = this.#s.chips.map(chip => chip.lines);
    this.#s = initial();
    this.#s.chips.forEach((chip, index) => (chip.lines = lines[index]));
    this.#s.chips[0].lines &= ~(1 << CASCADE);
    this.#updateIrq();
  }

  save(): Pic8259State {
    return clone(this.#s);
  }

  restore(state: Pic8259State): void {
    const s = validated(this.name, initial(), state);
    s.chips.length = 2;
    for (const chip of s.chips) {
      chip.first &= 7;
      chip.vectorBase &= 0xf8;
    }
    this.#s = s;
    this.#updateIrq();
  }

  #setLine(n: number, level: boolean): void {
    const chip = this.#s.chips[n >> 3];
    if (((chip.lines >> (n & 7)) & 1) === (level ? 1 : 0)) return;
    drive(chip, n & 7, level);
    this.#updateIrq();
  }

  /** Carries the slave's request to the master's input 2 and the master's to the CPU. */
  #updateIrq(): void {
    const [master, slave] = this.#s.chips;
    drive(master, CASCADE, highest(slave, false) >= 0);
    this.#intr.set(highest(master, true) >= 0);
  }

  /** The slave's request falls during acknowledge, so that a second one behind it makes a new edge. */
  #dropCascade(): void {
    drive(this.#s.chips[0], CASCADE, false);
  }

  #poll(chip: ChipState, isMaster: boolean): number {
    chip.poll = false;
    const input = highest(chip, isMaster);
    if (input >= 0) {
      accept(chip, input);
      if (!isMaster) this.#dropCascade();
    }
    this.#updateIrq();
    return input < 0 ? 0 : 0x80 | input;
  }

  #writeData(chip: ChipState, value: number): void {
    switch (chip.icw) {
      case 2:
        chip.vectorBase = value & 0xf8;
        chip.icw = chip.single ? (chip.needsIcw4 ? 4 : 0) : 3;
        return;
      case 3:
        chip.icw = chip.needsIcw4 ? 4 : 0;
        return;
      case 4:
        chip.autoEoi = (value & ICW4_AEOI) !== 0;
        chip.specialFullyNested = (value & ICW4_SFNM) !== 0;
        chip.icw = 0;
        return;
      default:
        chip.imr = value;
    }
  }

  #writeElcr(offset: number, value: number): void {
    const chip = this.#s.chips[offset];
    chip.elcr = value & ELCR_WRITABLE[offset];
    chip.irr = (chip.irr & ~chip.elcr) | (chip.lines & chip.elcr);
  }
}

/** Sets an input: a level request follows it, an edge request is made by its rise and withdrawn by its fall. */
const drive = (chip: ChipState, input: number, level: boolean): void => {
  const bit = 1 << input;
  if (!level) {
    chip.irr &= ~bit;
    chip.lines &= ~bit;
    return;
  }
  if ((chip.lines & bit) === 0 || (chip.elcr & bit) !== 0) chip.irr |= bit;
  chip.lines |= bit;
};

/** How far the best input of `mask` is from the head of the priority ring; 8 for an empty mask. */
const priority = (chip: ChipState, mask: number): number => {
  if (mask === 0) return 8;
  let distance = 0;
  while ((mask & (1 << ((chip.first + distance) & 7))) === 0) distance++;
  return distance;
};

/** The input whose request goes to the CPU, or -1. */
const highest = (chip: ChipState, isMaster: boolean): number => {
  const requested = priority(chip, chip.irr & ~chip.imr);
  if (requested === 8) return -1;
  let inService = chip.isr;
  if (chip.specialMask) inService &= ~chip.imr;
  if (chip.specialFullyNested && isMaster) inService &= ~(1 << CASCADE);
  return requested < priority(chip, inService) ? (chip.first + requested) & 7 : -1;
};

const accept = (chip: ChipState, input: number): void => {
  const bit = 1 << input;
  if (!chip.autoEoi) chip.isr |= bit;
  else if (chip.rotateOnAutoEoi) chip.first = (input + 1) & 7;
  if ((chip.elcr & bit) === 0) chip.irr &= ~bit;
};

const initialise = (chip: ChipState, icw1: number, isMaster: boolean): void => {
  const { elcr, vectorBase } = chip;
  // A slave that asks meanwhile must be seen as a new edge: nothing else would wake it.
  const lines = isMaster ? chip.lines & ~(1 << CASCADE) : chip.lines;
  Object.assign(chip, initialChip(), { lines, elcr, vectorBase, irr: lines & elcr, icw: 2 });
  chip.needsIcw4 = (icw1 & ICW1_IC4) !== 0;
  chip.single = (icw1 & ICW1_SNGL) !== 0;
};

const writeOcw2 = (chip: ChipState, value: number): void => {
  const rotate = (value & OCW2_R) !== 0;
  if ((value & OCW2_EOI) === 0) {
    if ((value & OCW2_SL) === 0) chip.rotateOnAutoEoi = rotate;
    else if (rotate) chip.first = (value + 1) & 7;
    return;
  }
  let input = value & 7;
  if ((value & OCW2_SL) === 0) {
    const distance = priority(chip, chip.specialMask ? chip.isr & ~chip.imr : chip.isr);
    if (distance === 8) return;
    input = (chip.first + distance) & 7;
  }
  chip.isr &= ~(1 << input);
  if (rotate) chip.first = (input + 1) & 7;
};

const writeOcw3 = (chip: ChipState, value: number): void => {
  if ((value & OCW3_ESMM) !== 0) chip.specialMask = (value & OCW3_SMM) !== 0;
  if ((value & OCW3_P) !== 0) chip.poll = true;
  else if ((value & OCW3_RR) !== 0) chip.readIsr = (value & OCW3_RIS) !== 0;
};
