// The 88E1000-class PHY inside the 82540EM, by MDIO (317453, 11.4; IEEE 802.3 clause 22).

const CONTROL = 0;
const STATUS = 1;
const AN_EXPANSION = 6;
const SPECIFIC_STATUS = 17;
const CONTROL_RESET = 0x8000;
const CONTROL_LOOPBACK = 0x4000;
const CONTROL_RESTART = 0x0200;
const STATUS_AN_COMPLETE = 0x0020;
const STATUS_LINK = 0x0004;
const SPECIFIC_LINK = 0x0400;
const REGISTERS = 32;

/** Identifier of the 88E1011. */
const ID1 = 0x0141;
const ID2 = 0x0c20;

const POWER_ON: readonly [number, number][] = [
  [CONTROL, 0x1140],
  [STATUS, 0x7949],
  [2, ID1],
  [3, ID2],
  [4, 0x0de1],
  [5, 0xcde1],
  [AN_EXPANSION, 0x000f],
  [7, 0x2001],
  [9, 0x0e00],
  [10, 0x3c00],
  [15, 0x3000],
  [16, 0x0360],
  [SPECIFIC_STATUS, 0xa800],
  [20, 0x0d60],
];
const WRITABLE = new Set([0, 4, 7, 8, 9, 16, 18, 20, 24, 25, 29, 30, 31]);

const powerOn = (): Uint16Array => {
  const registers = new Uint16Array(REGISTERS);
  for (const [register, value] of POWER_ON) registers[register] = value;
  return registers;
};

export class E1000Phy {
  registers = powerOn();
  /** A partner is at the other end. Negotiation takes no time. */
  link = true;

  reset(): void {
    this.registers = powerOn();
  }

  get loopback(): boolean {
    return (this.registers[CONTROL] & CONTROL_LOOPBACK) !== 0;
  }

  /** Undefined for a register that is not there. */
  read(register: number): number {
    const value = this.registers[register & 31];
    if (register === STATUS) return this.link ? value | STATUS_AN_COMPLETE | STATUS_LINK : value;
    if (register === SPECIFIC_STATUS) return this.link ? value | SPECIFIC_LINK : 0;
    if (register === 5 || register === 10) return this.link ? value : 0;
    return value;
  }

  /** True when negotiation starts anew. */
  write(register: number, value: number): boolean {
    if (!WRITABLE.has(register)) return false;
    if (register === CONTROL && value & CONTROL_RESET) {
      const kept = this.registers[CONTROL] & ~CONTROL_LOOPBACK;
      this.reset();
      this.registers[CONTROL] = kept;
      return true;
    }
    this.registers[register] = register === CONTROL ? value & ~(CONTROL_RESET | CONTROL_RESTART) : value;
    return register === CONTROL && (value & CONTROL_RESTART) !== 0;
  }
}
