/** One interrupt line into a controller. Level semantics: the controller decides between edge and level. */
export interface IrqLine {
  set(level: boolean): void;
}

/** Where message-signalled interrupts go: a write of `data` to the physical `address` (Intel SDM vol. 3, 11.11). */
export interface MsiSink {
  send(addressLo: number, addressHi: number, data: number): void;
}

export const NO_IRQ: IrqLine = { set: () => {} };

/** Fans one level out to several controllers, as ISA lines reach both the PIC and the I/O APIC. */
export const fanOut = (...lines: IrqLine[]): IrqLine => ({
  set: level => {
    for (const line of lines) line.set(level);
  },
});

/** ORs any number of level sources onto one line, as shared PCI interrupts do. */
export class SharedLine {
  readonly #target: IrqLine;
  #asserted = 0;

  constructor(target: IrqLine) {
    this.#target = target;
  }

  /** A new input; each input remembers its own level. */
  input(): IrqLine {
    let mine = false;
    return {
      set: level => {
        if (level === mine) return;
        mine = level;
        this.#asserted += level ? 1 : -1;
        this.#target.set(this.#asserted > 0);
      },
    };
  }
}
