// A serial EEPROM of 64 words on four wires: 93C46 (Microwire). Three opcode bits (the first is the start bit), six of address, then data.

const WORDS = 64;
const COMMAND_BITS = 9;
const READ = 0b110;

export interface MicrowireState {
  /** Levels of the chip's inputs. */
  select: boolean;
  clock: boolean;
  /** Bits of the command taken so far, and how many. */
  command: number;
  taken: number;
  /** The bit that the chip shows next, counted from word 0, most significant first; -1 while it reads nothing. */
  out: number;
}

const initial = (): MicrowireState => ({ select: false, clock: false, command: 0, taken: 0, out: -1 });

/** Reads only: the contents are the card's own and a guest cannot change them. */
export class Microwire {
  readonly words: Uint16Array;
  state = initial();

  constructor(words: Uint16Array) {
    this.words = words;
  }

  reset(): void {
    this.state = initial();
  }

  /** The level of the data output; high while nothing is read. */
  get dataOut(): boolean {
    const { out } = this.state;
    return out < 0 || ((this.words[(out >> 4) % WORDS] >> (15 - (out & 15))) & 1) === 1;
  }

  /** Sets the inputs: chip select, clock, data. */
  drive(select: boolean, clock: boolean, data: boolean): void {
    const s = this.state;
    if (!select || !s.select) {
      s.command = 0;
      s.taken = 0;
      s.out = -1;
    }
    const rising = clock && !s.clock && select;
    const falling = !clock && s.clock && select;
    s.select = select;
    s.clock = clock;
    if (rising && s.taken < COMMAND_BITS) {
      // Zeros before the start bit are nothing yet.
      if (s.taken > 0 || data) {
        s.command = (s.command << 1) | (data ? 1 : 0);
        s.taken++;
      }
    } else if (falling && s.taken === COMMAND_BITS) {
      if (s.out >= 0) s.out = (s.out + 1) % (16 * WORDS);
      else if (s.command >> 6 === READ) s.out = 16 * (s.command & 0x3f);
    }
  }
}
