import * as aml from './aml.js';
import { TABLES_START } from './e820.js';

/** What the tables describe; the board fills it in from the addresses it attached devices at. */
export interface AcpiConfig {
  cpus: number;
  lapicBase: number;
  ioapicBase: number;
  ioapicId: number;
  /** First port of the power management block: event registers at 0, control at 4, timer at 8. */
  pmBase: number;
  sciIrq: number;
  /** The value that _S5 puts into SLP_TYP. */
  s5SleepType: number;
  /** Port and value of the reset register. */
  reset: { port: number; value: number };
  /** ISA serial ports, in order COM1 to COM4. */
  serials: { port: number; irq: number }[];
  /** The window of PCI memory bars; end exclusive. */
  pciWindow: { start: number; end: number };
  /** The interrupt that INTx# pin `pin` (0 = A) of PCI slot `slot` raises. */
  pciInterrupt: (slot: number, pin: number) => number;
  /** Interrupts that PCI devices use. */
  pciIrqs: readonly number[];
}

export interface AcpiTables {
  /** Physical address of the root pointer, on a 16-byte boundary of the firmware area. */
  rsdp: number;
  /** The firmware area from `start` on. */
  start: number;
  bytes: Uint8Array;
  /** Where addresses of tables stand, and of how many bytes; relative to `start`, as are the next ones. */
  pointers: { at: number; bytes: 4 | 8 }[];
  /** The tables with a header. */
  tables: { at: number; length: number }[];
}

export const RSDP_BYTES = 36;

export const ACPI_START = TABLES_START;
/** The area up to here is for ACPI, the rest for SMBIOS. */
export const ACPI_END = 0xf_8000;

const HEADER_BYTES = 36;
const OEM_ID = 'VMLET ';
const OEM_TABLE_ID = 'VMLETPC ';
const CREATOR_ID = 'VMLT';
const SPACE_IO = 1;
/** Offsets of addresses in the FADT. */
const FADT_FACS = 36;
const FADT_DSDT = 40;
const FADT_X_DSDT = 140;

/** Bytes written in order, little-endian. */
class Writer {
  readonly #bytes: number[] = [];

  u8(...values: number[]): this {
    for (const value of values) this.#bytes.push(value & 0xff);
    return this;
  }

  u16(...values: number[]): this {
    for (const value of values) this.u8(value, value >>> 8);
    return this;
  }

  u32(...values: number[]): this {
    for (const value of values) this.u16(value, value >>> 16);
    return this;
  }

  u64(...values: number[]): this {
    for (const value of values) this.u32(value >>> 0, Math.floor(value / 2 ** 32));
    return this;
  }

  text(value: string): this {
    return this.u8(...[...value].map(c => c.charCodeAt(0)));
  }

  zeros(count: number): this {
    return this.u8(...new Array<number>(count).fill(0));
  }

  get length(): number {
    return this.#bytes.length;
  }

  done(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

const checksum = (bytes: Uint8Array): number => -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;

/** A system description table around `body` (ACPI 6.5, 5.2.6). */
const table = (signature: string, revision: number, body: Uint8Array): Uint8Array => {
  const header = new Writer().text(signature).u32(HEADER_BYTES + body.length).u8(revision, 0).text(OEM_ID).text(OEM_TABLE_ID).u32(1).text(CREATOR_ID).u32(1);
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  bytes.set(header.done());
  bytes.set(body, HEADER_BYTES);
  bytes[9] = checksum(bytes);
  return bytes;
};

/** Builds all tables for the area from `start` on; their addresses are final. */
export const buildAcpiTables = (config: AcpiConfig, start = ACPI_START): AcpiTables => {
  const bytes = new Uint8Array(ACPI_END - ACPI_START);
  let next = start + 64;
  const place = (contents: Uint8Array, alignment = 16): number => {
    const at = Math.ceil(next / alignment) * alignment;
    if (at + contents.length > start + bytes.length) throw new RangeError('the ACPI tables are too long for their area');
    bytes.set(contents, at - start);
    next = at + contents.length;
    return at;
  };
  const facs = place(buildFacs(), 64);
  const dsdt = place(table('DSDT', 2, Uint8Array.from(buildDsdt(config))));
  const tables = [place(table('FACP', 6, buildFadt(config, facs, dsdt))), place(table('APIC', 4, buildMadt(config)))];
  const rsdt = place(table('RSDT', 1, new Writer().u32(...tables).done()));
  const xsdt = place(table('XSDT', 1, new Writer().u64(...tables).done()));
  const rsdp = new Writer().text('RSD PTR ').u8(0).text(OEM_ID).u8(2).u32(rsdt, RSDP_BYTES).u64(xsdt).u8(0).zeros(3).done();
  rsdp[8] = checksum(rsdp.subarray(0, 20));
  rsdp[32] = checksum(rsdp);
  bytes.set(rsdp);
  const header = (at: number): { at: number; length: number } => ({ at: at - start, length: new DataView(bytes.buffer).getUint32(at - start + 4, true) });
  const fadt = tables[0] - start;
  const pointers: AcpiTables['pointers'] = [
    { at: 16, bytes: 4 },
    { at: 24, bytes: 8 },
    { at: fadt + FADT_FACS, bytes: 4 },
    { at: fadt + FADT_DSDT, bytes: 4 },
    { at: fadt + FADT_X_DSDT, bytes: 8 },
    ...tables.map((_, i) => ({ at: rsdt - start + HEADER_BYTES + 4 * i, bytes: 4 as const })),
    ...tables.map((_, i) => ({ at: xsdt - start + HEADER_BYTES + 8 * i, bytes: 8 as const })),
  ];
  return { rsdp: start, start, bytes: bytes.subarray(0, next - start), pointers, tables: [dsdt, ...tables, rsdt, xsdt].map(header) };
};

/** 5.2.10. */
const buildFacs = (): Uint8Array => new Writer().text('FACS').u32(64).zeros(24).u8(2).zeros(31).done();

/** A generic address structure (5.2.3.2); `access` is 1 to 3 for byte, word, dword. */
const gas = (w: Writer, port: number, bytes: number, access: number): Writer => w.u8(SPACE_IO, 8 * bytes, 0, access).u64(port);

const FADT_WBINVD = 1 << 0;
const FADT_PROC_C1 = 1 << 2;
const FADT_NO_SLEEP_BUTTON = 1 << 5;
const FADT_NO_FIXED_RTC = 1 << 6;
const FADT_TIMER_32_BITS = 1 << 8;
const FADT_RESET_REGISTER = 1 << 10;
const FADT_HEADLESS = 1 << 12;
const BOOT_LEGACY_DEVICES = 1 << 0;
const BOOT_8042 = 1 << 1;

/** 5.2.9: no SMI command, the machine is in ACPI mode from the start. */
const buildFadt = (config: AcpiConfig, facs: number, dsdt: number): Uint8Array => {
  const { pmBase } = config;
  const w = new Writer();
  w.u32(facs, dsdt).u8(0, 0).u16(config.sciIrq).u32(0).zeros(4);
  w.u32(pmBase, 0, pmBase + 4, 0, 0, pmBase + 8, 0, 0);
  w.u8(4, 2, 0, 4, 0, 0, 0, 0);
  // No C2, C3; no CMOS day alarm, month alarm; century in CMOS 0x32.
  w.u16(0x0fff, 0x0fff, 0, 0).u8(0, 0, 0, 0, 0x32);
  w.u16(BOOT_LEGACY_DEVICES | BOOT_8042).u8(0);
  w.u32(FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC | FADT_TIMER_32_BITS | FADT_RESET_REGISTER | FADT_HEADLESS);
  gas(w, config.reset.port, 1, 1).u8(config.reset.value).u16(0).u8(3);
  w.u64(0, dsdt);
  gas(w, pmBase, 4, 2);
  w.zeros(12);
  gas(w, pmBase + 4, 2, 2);
  w.zeros(24);
  gas(w, pmBase + 8, 4, 3);
  w.zeros(24 + 24).text('vmlet\0\0\0');
  return w.done();
};

const IRQ_LEVEL_HIGH = 0x0d;
const ISA_BUS = 0;

/** 5.2.12. */
const buildMadt = (config: AcpiConfig): Uint8Array => {
  const w = new Writer();
  w.u32(config.lapicBase, 1);
  for (let id = 0; id < config.cpus; id++) w.u8(0, 8, id, id).u32(1);
  w.u8(1, 12, config.ioapicId, 0).u32(config.ioapicBase, 0);
  const override = (source: number, target: number, flags: number) => w.u8(2, 10, ISA_BUS, source).u32(target).u16(flags);
  override(0, 2, 0);
  const levels = [...new Set([config.sciIrq, ...config.pciIrqs])].sort((a, b) => a - b);
  for (const line of levels) override(line, line, IRQ_LEVEL_HIGH);
  // LINT1 of every CPU is the NMI.
  w.u8(4, 6, 0xff).u16(0).u8(1);
  return w.done();
};

const SLOTS = 32;
const PINS = 4;

/** 5.2.11: everything that cannot be found by probing. */
const buildDsdt = (config: AcpiConfig): aml.Aml => {
  const routes: aml.Aml[] = [];
  for (let slot = 0; slot < SLOTS; slot++) {
    for (let pin = 0; pin < PINS; pin++) {
      const address = slot * 0x1_0000 + 0xffff;
      routes.push(aml.package_(aml.integer(address), aml.integer(pin), aml.integer(0), aml.integer(config.pciInterrupt(slot, pin))));
    }
  }
  const isa = (at: string, id: string, ...descriptors: aml.Aml[]) => aml.device(at, aml.name('_HID', aml.eisaId(id)), aml.name('_CRS', aml.resources(...descriptors)));
  const serials = config.serials.map(({ port, irq }, i) =>
    aml.device(
      `COM${i + 1}`,
      aml.name('_HID', aml.eisaId('PNP0501')),
      aml.name('_UID', aml.integer(i + 1)),
      aml.name('_CRS', aml.resources(aml.io(port, 8, 8), aml.irq(irq))),
    ),
  );
  const cpus = Array.from({ length: config.cpus }, (_, id) =>
    aml.device(`CPU${id}`, aml.name('_HID', aml.string('ACPI0007')), aml.name('_UID', aml.integer(id))),
  );
  const pciResources = aml.resources(
    aml.busRange(0, 0xff),
    aml.io(0xcf8, 8),
    aml.ioRange(0, 0xcf7),
    aml.ioRange(0xd00, 0xffff),
    aml.memoryRange(0xa_0000, 0xb_ffff, true),
    aml.memoryRange(config.pciWindow.start, config.pciWindow.end - 1),
  );
  const board = aml.device(
    'MBRD',
    aml.name('_HID', aml.eisaId('PNP0C02')),
    aml.name('_CRS', aml.resources(aml.io(0x61, 1), aml.io(0x80, 1), aml.io(0x92, 1), aml.io(config.pmBase, 16))),
  );
  const bridge = aml.device(
    'ISA',
    aml.name('_ADR', aml.integer(0x1_0000)),
    isa('PIC', 'PNP0000', aml.io(0x20, 2), aml.io(0xa0, 2), aml.io(0x4d0, 2), aml.irq(2)),
    isa('TMR', 'PNP0100', aml.io(0x40, 4), aml.irq(0)),
    isa('RTC', 'PNP0B00', aml.io(0x70, 2), aml.irq(8)),
    isa('KBD', 'PNP0303', aml.io(0x60, 1), aml.io(0x64, 1), aml.irq(1)),
    ...serials,
  );
  return [
    ...aml.name('\\_S5', aml.package_(aml.integer(config.s5SleepType), aml.integer(0), aml.integer(0), aml.integer(0))),
    ...aml.scope(
      '\\_SB',
      ...cpus,
      board,
      aml.device(
        'PCI0',
        aml.name('_HID', aml.eisaId('PNP0A03')),
        aml.name('_UID', aml.integer(0)),
        aml.name('_CRS', pciResources),
        aml.name('_PRT', aml.package_(...routes)),
        bridge,
      ),
    ),
  ];
};


