import type { BlockBackend } from '../../backends/backend.js';

// MMC-4 and SPC-3: the packet commands of a CD or DVD drive with a data medium of one track.

export const CD_SECTOR_BYTES = 2048;
export const PACKET_BYTES = 12;
/** What fits a CD; larger media are DVDs. */
const CD_MAX_SECTORS = 400_000;

const TEST_UNIT_READY = 0x00;
const REQUEST_SENSE = 0x03;
const INQUIRY = 0x12;
const START_STOP = 0x1b;
const PREVENT_ALLOW = 0x1e;
const READ_FORMAT_CAPACITIES = 0x23;
const READ_CAPACITY = 0x25;
const READ_10 = 0x28;
const SEEK_10 = 0x2b;
const READ_SUBCHANNEL = 0x42;
const READ_TOC = 0x43;
const GET_CONFIGURATION = 0x46;
const GET_EVENT_STATUS = 0x4a;
const READ_DISC_INFORMATION = 0x51;
const READ_TRACK_INFORMATION = 0x52;
const MODE_SENSE_10 = 0x5a;
const READ_12 = 0xa8;
const SET_CD_SPEED = 0xbb;
const MECHANISM_STATUS = 0xbd;
const READ_CD = 0xbe;

export const SENSE_NONE = 0x00_0000;
const NO_MEDIUM = 0x02_3a00;
const MEDIUM_CHANGED = 0x06_2800;
const MEDIUM_ERROR = 0x03_1100;
const INVALID_COMMAND = 0x05_2000;
const LBA_OUT_OF_RANGE = 0x05_2100;
const INVALID_FIELD = 0x05_2400;
const REMOVAL_PREVENTED = 0x05_5302;

const LEAD_OUT = 0xaa;
const DATA_TRACK = 0x14;
const PROFILE_CD_ROM = 0x0008;
const PROFILE_DVD_ROM = 0x0010;
const FRAMES = 75;
const PREGAP = 150;

export interface CdState {
  /** Key, code and qualifier of the last error: 0xKKAACC... as key << 16 | asc << 8 | ascq. */
  sense: number;
  /** The medium is new to the guest: the next command is told so. */
  changed: boolean;
  ejected: boolean;
  locked: boolean;
}

export const newCdState = (): CdState => ({ sense: SENSE_NONE, changed: true, ejected: false, locked: false });

/** What a packet command comes to: data for the guest, or sectors of the medium, or nothing; or an error, whose sense is in the state. */
export type PacketResult = { kind: 'data'; bytes: Uint8Array } | { kind: 'read'; lba: number; count: number } | { kind: 'done' } | { kind: 'error' };

/** Executes packets on a medium. */
export class CdCommands {
  readonly #backend: BlockBackend;

  constructor(backend: BlockBackend) {
    this.#backend = backend;
  }

  /** Sectors of 2048 bytes; the last may be cut short. */
  get sectors(): number {
    return Math.ceil(this.#backend.size / CD_SECTOR_BYTES);
  }

  /** Reads one sector; false when the medium cannot be read there. */
  readSector(lba: number, into: Uint8Array, state: CdState): boolean {
    try {
      const offset = lba * CD_SECTOR_BYTES;
      const inside = Math.max(0, Math.min(CD_SECTOR_BYTES, this.#backend.size - offset));
      this.#backend.read(offset, into.subarray(0, inside));
      into.fill(0, inside);
      return true;
    } catch {
      state.sense = MEDIUM_ERROR;
      return false;
    }
  }

  execute(packet: Uint8Array, state: CdState): PacketResult {
    const view = new DataView(packet.buffer, packet.byteOffset, PACKET_BYTES);
    const fail = (sense: number): PacketResult => {
      state.sense = sense;
      return { kind: 'error' };
    };
    const done: PacketResult = { kind: 'done' };
    const data = (bytes: readonly number[] | Uint8Array, limit: number): PacketResult =>
      limit === 0 ? done : { kind: 'data', bytes: Uint8Array.from(bytes).subarray(0, limit) };
    const code = packet[0];
    if (code === REQUEST_SENSE) {
      const { sense } = state;
      state.sense = SENSE_NONE;
      return data([0x70, 0, sense >> 16, 0, 0, 0, 0, 10, 0, 0, 0, 0, (sense >> 8) & 0xff, sense & 0xff, 0, 0, 0, 0], packet[4]);
    }
    if (code === INQUIRY) return data(inquiry(), view.getUint16(3));
    if (code === GET_CONFIGURATION) return data(this.#configuration(view.getUint16(2), packet[1] & 3, state), view.getUint16(7));
    if (code === GET_EVENT_STATUS) return packet[1] & 1 ? data(eventStatus(packet[4], state), view.getUint16(7)) : fail(INVALID_FIELD);
    if (state.changed && !state.ejected) {
      state.changed = false;
      return fail(MEDIUM_CHANGED);
    }
    state.sense = SENSE_NONE;
    switch (code) {
      case START_STOP:
        return this.#startStop(packet[4], state) ? done : fail(REMOVAL_PREVENTED);
      case PREVENT_ALLOW:
        state.locked = (packet[4] & 1) !== 0;
        return done;
      case MODE_SENSE_10: {
        const pages = modePages(packet[2] & 0x3f, state);
        return pages === undefined ? fail(INVALID_FIELD) : data(pages, view.getUint16(7));
      }
      case MECHANISM_STATUS:
        return data([0, 0, 0, 0, 0, 1, 0, 0], view.getUint16(8));
      case SET_CD_SPEED:
        return done;
    }
    if (state.ejected) return MEDIUM_COMMANDS.has(code) ? fail(NO_MEDIUM) : fail(INVALID_COMMAND);
    switch (code) {
      case TEST_UNIT_READY:
        return done;
      case READ_CAPACITY:
        return data([...be32(this.sectors - 1), ...be32(CD_SECTOR_BYTES)], 8);
      case READ_FORMAT_CAPACITIES:
        return data([0, 0, 0, 8, ...be32(this.sectors), 2, 0, 8, 0], view.getUint16(7));
      case READ_10:
        return this.#read(view.getUint32(2), view.getUint16(7), fail);
      case READ_12:
        return this.#read(view.getUint32(2), view.getUint32(6), fail);
      case READ_CD: {
        // Only whole sectors of user data, or nothing at all.
        const parts = packet[9] & 0xf8;
        const count = (packet[6] << 16) | (packet[7] << 8) | packet[8];
        if (parts === 0 || count === 0) return done;
        return parts === 0x10 ? this.#read(view.getUint32(2), count, fail) : fail(INVALID_FIELD);
      }
      case SEEK_10:
        return view.getUint32(2) < this.sectors ? done : fail(LBA_OUT_OF_RANGE);
      case READ_TOC: {
        // Older drivers put the format into the last byte.
        const toc = this.#toc((packet[1] & 2) !== 0, packet[2] & 0x0f || packet[9] >> 6, packet[6]);
        return toc === undefined ? fail(INVALID_FIELD) : data(toc, view.getUint16(7));
      }
      case READ_SUBCHANNEL:
        return data((packet[2] & 0x40) === 0 ? [0, 0x15, 0, 0] : [0, 0x15, 0, 12, 1, DATA_TRACK, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0], view.getUint16(7));
      case READ_DISC_INFORMATION:
        return data([0, 32, 0x0e, 1, 1, 1, 1, 0x20, 0, 0, 0, 0, ...zeros(4), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...zeros(10)], view.getUint16(7));
      case READ_TRACK_INFORMATION:
        return data([0, 34, 1, 1, 0, DATA_TRACK & 0x0f, 0x01, 0, ...be32(0), ...be32(0), ...be32(0), ...be32(0), ...be32(this.sectors), ...zeros(8)], view.getUint16(7));
      default:
        return fail(INVALID_COMMAND);
    }
  }

  #read(lba: number, count: number, fail: (sense: number) => PacketResult): PacketResult {
    if (lba + count > this.sectors) return fail(LBA_OUT_OF_RANGE);
    return count === 0 ? { kind: 'done' } : { kind: 'read', lba, count };
  }

  #startStop(bits: number, state: CdState): boolean {
    const loadOrEject = (bits & 2) !== 0;
    if (!loadOrEject) return true;
    const load = (bits & 1) !== 0;
    if (!load && state.locked) return false;
    if (load && state.ejected) state.changed = true;
    state.ejected = !load;
    return true;
  }

  #toc(minutes: boolean, format: number, first: number): number[] | undefined {
    const address = (lba: number): number[] => {
      if (!minutes) return be32(lba);
      const frame = lba + PREGAP;
      return [0, Math.floor(frame / (60 * FRAMES)), Math.floor(frame / FRAMES) % 60, frame % FRAMES];
    };
    switch (format) {
      case 0: {
        if (first > 1 && first !== LEAD_OUT) return undefined;
        const tracks = [...(first <= 1 ? [0, DATA_TRACK, 1, 0, ...address(0)] : []), 0, DATA_TRACK, LEAD_OUT, 0, ...address(this.sectors)];
        return [0, tracks.length + 2, 1, 1, ...tracks];
      }
      case 1:
        return [0, 10, 1, 1, 0, DATA_TRACK, 1, 0, ...address(0)];
      case 2: {
        const point = (number: number, at: number[]) => [1, DATA_TRACK, 0, number, 0, 0, 0, ...at];
        const time = (lba: number): number[] => {
          const frame = lba + PREGAP;
          return [0, Math.floor(frame / (60 * FRAMES)), Math.floor(frame / FRAMES) % 60, frame % FRAMES];
        };
        const points = [...point(0xa0, [0, 1, 0, 0]), ...point(0xa1, [0, 1, 0, 0]), ...point(0xa2, time(this.sectors)), ...point(1, time(0))];
        return [0, points.length + 2, 1, 1, ...points];
      }
      default:
        return undefined;
    }
  }

  #configuration(first: number, requestType: number, state: CdState): number[] {
    const profile = state.ejected ? 0 : this.sectors > CD_MAX_SECTORS ? PROFILE_DVD_ROM : PROFILE_CD_ROM;
    const listed = (number: number): number[] => [number >> 8, number & 0xff, number === profile ? 1 : 0, 0];
    const features: [number, number[]][] = [
      [0x0000, [0, 0, 0x03, 8, ...listed(PROFILE_DVD_ROM), ...listed(PROFILE_CD_ROM)]],
      [0x0001, [0, 1, 0x0b, 8, 0, 0, 0, 2, 1, 0, 0, 0]],
      [0x0003, [0, 3, 0x03, 4, 0x29, 0, 0, 0]],
      [0x0010, [0, 0x10, profile === 0 ? 0 : 1, 8, ...be32(CD_SECTOR_BYTES), 0, 1, 0, 0]],
      [0x001e, [0, 0x1e, profile === PROFILE_CD_ROM ? 1 : 0, 4, 0, 0, 0, 0]],
      [0x001f, [0, 0x1f, profile === PROFILE_DVD_ROM ? 1 : 0, 0]],
    ];
    const wanted = features.filter(([number]) => (requestType === 2 ? number === first : number >= first));
    const body = [...be32(0), 0, 0, profile >> 8, profile & 0xff, ...wanted.flatMap(([, bytes]) => bytes)];
    body.splice(0, 4, ...be32(body.length - 4));
    return body;
  }
}

const MEDIUM_COMMANDS: ReadonlySet<number> = new Set([
  TEST_UNIT_READY, READ_CAPACITY, READ_FORMAT_CAPACITIES, READ_10, READ_12, READ_CD, SEEK_10, READ_TOC, READ_SUBCHANNEL, READ_DISC_INFORMATION, READ_TRACK_INFORMATION,
]);

const zeros = (count: number): number[] => new Array<number>(count).fill(0);
const be32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
const ascii = (text: string, length: number): number[] => [...text.padEnd(length, ' ')].map(char => char.charCodeAt(0));

const inquiry = (): number[] => [0x05, 0x80, 0x05, 0x21, 31, 0, 0, 0, ...ascii('vmlet', 8), ...ascii('CD-ROM', 16), ...ascii('1.0', 4)];

/** Events of the media class: none; the tray's and the medium's state. */
const eventStatus = (classes: number, state: CdState): number[] => {
  const MEDIA = 0x10;
  if ((classes & MEDIA) === 0) return [0, 2, 0x80, MEDIA];
  return [0, 6, 4, MEDIA, 0, state.ejected ? 0x01 : 0x02, 0, 0];
};

/** The error recovery, power and capabilities pages. */
const modePages = (page: number, state: CdState): number[] | undefined => {
  const pages: Record<number, number[]> = {
    0x01: [0x01, 6, 0, 5, 0, 0, 0, 0],
    0x0e: [0x0e, 14, 4, 0, 0, 0, 0, 75, 1, 255, 2, 255, 0, 0, 0, 0],
    0x1a: [0x1a, 10, 0, 0, ...zeros(8)],
    0x2a: [0x2a, 20, 0x3b, 0, 0x70, 0x60, 0x29 | (state.locked ? 0x02 : 0), 0, 0x16, 0, 0, 2, 2, 0, 0x16, 0, 0, 0, 0, 0, 0, 0],
  };
  const chosen = page === 0x3f ? Object.values(pages).flat() : pages[page];
  if (chosen === undefined) return undefined;
  const length = chosen.length + 6;
  return [length >> 8, length & 0xff, state.ejected ? 0x70 : 0x01, 0, 0, 0, 0, 0, ...chosen];
};
