// The host's side of the guest agent: guest/README.md describes the protocol.
import { VmletError } from './errors.js';
import { BufferedChar } from './host/backends/char.js';
import type { VirtioConsolePort } from './host/devices/virtio/console.js';

export const AGENT_PORT = 'org.vmlet.agent';
export const AGENT_VERSION = 1;
/** Bytes of standard input that a command may have on its way. */
export const AGENT_WINDOW_BYTES = 0x1_0000;

export const ToGuest = { RUN: 1, STDIN: 2, STDIN_EOF: 3, SIGNAL: 4, RESIZE: 5, PING: 6, SHUTDOWN: 7 } as const;
export const FromGuest = { HELLO: 0x81, STARTED: 0x82, ERROR: 0x83, STDOUT: 0x84, STDERR: 0x85, CREDIT: 0x86, EXIT: 0x87, PONG: 0x88 } as const;
export const ErrorStage = ['exec', 'folder', 'user', 'resources'] as const;
export const Shutdown = { POWER_OFF: 0, RESTART: 1, HALT: 2 } as const;

const RUN_TTY = 1;
const RUN_STDIN = 2;
const HEADER_BYTES = 16;
const STDIN_FRAME_BYTES = 0x8000;
const MAX_MESSAGE_BYTES = 2 * 2 ** 20;
const MAX_STRINGS = 65_000;

const padded = (bytes: number): number => (bytes + 3) & ~3;

/** A message of either direction. */
export interface Frame {
  type: number;
  id: number;
  sequence: number;
  body: Uint8Array;
}

export const encodeFrame = ({ type, id, sequence, body }: Frame): Uint8Array => {
  const bytes = new Uint8Array(HEADER_BYTES + padded(body.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, type, true);
  view.setUint32(4, id, true);
  view.setUint32(8, sequence, true);
  view.setUint32(12, body.length, true);
  bytes.set(body, HEADER_BYTES);
  return bytes;
};

/** Cuts a byte stream into messages; throws ERR_VMLET_GUEST on what cannot be one. */
export class FrameReader {
  #rest: Uint8Array = new Uint8Array(0);
  #sequence = 0;

  constructor(readonly onFrame: (frame: Frame) => void) {}

  push(data: Uint8Array): void {
    let bytes = data;
    if (this.#rest.length > 0) {
      bytes = new Uint8Array(this.#rest.length + data.length);
      bytes.set(this.#rest);
      bytes.set(data, this.#rest.length);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    while (bytes.length - at >= HEADER_BYTES) {
      const size = view.getUint32(at + 12, true);
      const sequence = view.getUint32(at + 8, true);
      if (size > MAX_MESSAGE_BYTES || sequence !== this.#sequence) {
        throw new VmletError('ERR_VMLET_GUEST', "the guest agent's messages are damaged or out of order", { hint: 'something else in the guest writes to its port' });
      }
      if (bytes.length - at < HEADER_BYTES + padded(size)) break;
      this.#sequence = (this.#sequence + 1) >>> 0;
      const body = bytes.slice(at + HEADER_BYTES, at + HEADER_BYTES + size);
      const frame = { type: view.getUint16(at, true), id: view.getUint32(at + 4, true), sequence, body };
      at += HEADER_BYTES + padded(size);
      this.onFrame(frame);
    }
    this.#rest = bytes.slice(at);
  }
}

export interface RunRequest {
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Working folder; the agent's own when empty. */
  cwd: string;
  /** NAME, UID or UID:GID; root when empty. */
  user: string;
  /** Whether there is standard input; else it is /dev/null. */
  stdin: boolean;
  tty?: { columns: number; rows: number };
}

const encodeRun = (request: RunRequest): Uint8Array => {
  const env = Object.entries(request.env).map(([name, value]) => `${name}=${value}`);
  const strings = [request.user, request.cwd, ...request.argv, ...env];
  const refuse = (why: string): never => {
    throw new VmletError('ERR_VMLET_CONFIG', `the command cannot be sent to the guest: ${why}`);
  };
  if (request.argv.length === 0) refuse('it is empty');
  if (strings.some(string => string.includes('\0'))) refuse('a text holds a zero byte');
  if (strings.length > MAX_STRINGS) refuse(`more than ${MAX_STRINGS} arguments and variables`);
  const bytes = new TextEncoder().encode(strings.map(string => `${string}\0`).join(''));
  const body = new Uint8Array(16 + bytes.length);
  if (body.length > MAX_MESSAGE_BYTES) refuse(`its arguments and variables have more than ${MAX_MESSAGE_BYTES} bytes`);
  const view = new DataView(body.buffer);
  view.setUint32(0, (request.tty ? RUN_TTY : 0) | (request.stdin ? RUN_STDIN : 0), true);
  view.setUint16(4, request.tty?.columns ?? 0, true);
  view.setUint16(6, request.tty?.rows ?? 0, true);
  view.setUint32(8, request.argv.length, true);
  view.setUint32(12, env.length, true);
  body.set(bytes, 16);
  return body;
};

/** What a command tells about itself. */
export interface CommandEvents {
  onStarted(pid: number): void;
  /** The command could not be started; nothing follows. `errno` is Linux's. */
  onError(stage: (typeof ErrorStage)[number], errno: number): void;
  onOutput(stream: 'stdout' | 'stderr', data: Uint8Array): void;
  /** Comes last. */
  onExit(status: { code: number } | { signal: number }): void;
  /** Less than a window of input is waiting to be sent. */
  onDrain?(): void;
}

/** A command in the guest. */
export class AgentCommand {
  readonly #queue: Uint8Array[] = [];
  #credit = AGENT_WINDOW_BYTES;
  #queued = 0;
  #ended = false;
  #closed = false;
  #over = false;

  constructor(
    readonly id: number,
    readonly events: CommandEvents,
    private readonly post: (type: number, body?: Uint8Array) => void,
  ) {}

  /** Input bytes not yet sent. */
  get queued(): number {
    return this.#queued;
  }

  /** Whether nothing reads the command's input any more. */
  get inputClosed(): boolean {
    return this.#closed || this.#over;
  }

  write(data: Uint8Array): void {
    if (this.#ended || this.inputClosed || data.length === 0) return;
    this.#queue.push(data);
    this.#queued += data.length;
    this.#send();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#send();
  }

  signal(number: number): void {
    if (!this.#over) this.post(ToGuest.SIGNAL, words(number));
  }

  resize(columns: number, rows: number): void {
    if (!this.#over) this.post(ToGuest.RESIZE, sizeBody(columns, rows));
  }

  /** Takes a message of the guest. */
  handle(type: number, body: Uint8Array): void {
    const view = new DataView(body.buffer, body.byteOffset, body.length);
    const word = (index: number): number => (body.length >= 4 * index + 4 ? view.getUint32(4 * index, true) : 0);
    switch (type) {
      case FromGuest.STARTED:
        return this.events.onStarted(word(0));
      case FromGuest.ERROR:
        this.#over = true;
        return this.events.onError(ErrorStage[word(0)] ?? 'resources', word(1));
      case FromGuest.STDOUT:
        return this.events.onOutput('stdout', body);
      case FromGuest.STDERR:
        return this.events.onOutput('stderr', body);
      case FromGuest.CREDIT:
        if (word(1) !== 0) this.#close();
        else {
          this.#credit += word(0);
          this.#send();
        }
        return;
      case FromGuest.EXIT:
        this.#over = true;
        return this.events.onExit(word(0) === 0 ? { code: word(1) } : { signal: word(1) });
    }
  }

  #close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    this.#queued = 0;
    this.events.onDrain?.();
  }

  #send(): void {
    if (this.inputClosed) return;
    while (this.#queue.length > 0 && this.#credit > 0) {
      const first = this.#queue[0];
      const piece = first.subarray(0, Math.min(first.length, this.#credit, STDIN_FRAME_BYTES));
      this.post(ToGuest.STDIN, piece);
      this.#credit -= piece.length;
      this.#queued -= piece.length;
      if (piece.length === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(piece.length);
    }
    if (this.#ended && this.#queue.length === 0) {
      this.#closed = true;
      this.post(ToGuest.STDIN_EOF);
    }
    if (this.#queued < AGENT_WINDOW_BYTES) this.events.onDrain?.();
  }
}

const words = (...values: number[]): Uint8Array => {
  const body = new Uint8Array(4 * values.length);
  const view = new DataView(body.buffer);
  values.forEach((value, i) => view.setUint32(4 * i, value, true));
  return body;
};

const sizeBody = (columns: number, rows: number): Uint8Array => words((columns & 0xffff) | ((rows & 0xffff) << 16));

/** The agent as the host sees it. Messages may be sent at once: they wait until the guest takes them. */
export class Agent {
  readonly #char = new BufferedChar(1);
  readonly #reader = new FrameReader(frame => this.#receive(frame));
  readonly #commands = new Map<number, AgentCommand>();
  #sequence = 0;
  #lastId = 0;
  #ready = false;
  #broken = false;
  /** Told when the agent has come up. */
  onReady: () => void = () => {};
  /** Told behind every message of the guest. */
  onMessage: () => void = () => {};
  /** Told when what the guest sends makes no sense. */
  onBroken: (error: unknown) => void = () => {};
  /** The kernel's release, once the agent is up. */
  release = '';

  constructor() {
    this.#char.onData = data => this.#take(data);
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** The virtio console port to give the machine. */
  get port(): VirtioConsolePort {
    return { backend: this.#char, name: AGENT_PORT, console: false };
  }

  run(request: RunRequest, events: CommandEvents): AgentCommand {
    const body = encodeRun(request);
    const id = ++this.#lastId;
    const command = new AgentCommand(id, events, (type, payload) => this.#post(type, id, payload));
    this.#commands.set(id, command);
    this.#post(ToGuest.RUN, id, body);
    if (!request.stdin && !request.tty) command.end();
    return command;
  }

  /** Syncs, unmounts and powers the guest off. */
  shutdown(how: number = Shutdown.POWER_OFF): void {
    this.#post(ToGuest.SHUTDOWN, 0, words(how));
  }

  /** Tells the size of the console's terminal. */
  resizeConsole(columns: number, rows: number): void {
    this.#post(ToGuest.RESIZE, 0, sizeBody(columns, rows));
  }

  #post(type: number, id: number, body: Uint8Array = new Uint8Array(0)): void {
    this.#char.send(encodeFrame({ type, id, sequence: this.#sequence, body }));
    this.#sequence = (this.#sequence + 1) >>> 0;
  }

  #take(data: Uint8Array): void {
    if (this.#broken) return;
    try {
      this.#reader.push(data);
    } catch (error) {
      this.#broken = true;
      this.onBroken(error);
    }
    this.onMessage();
  }

  #receive({ type, id, body }: Frame): void {
    if (type === FromGuest.HELLO) {
      const version = body.length >= 4 ? new DataView(body.buffer, body.byteOffset).getUint32(0, true) : 0;
      if (version !== AGENT_VERSION) {
        throw new VmletError('ERR_VMLET_GUEST', `the guest agent speaks version ${version} of the protocol, not ${AGENT_VERSION}`, { hint: 'build the image again: vmlet image rm, then vmlet image pull' });
      }
      this.release = new TextDecoder().decode(body.subarray(12));
      this.#ready = true;
      this.onReady();
      return;
    }
    const command = this.#commands.get(id);
    if (command === undefined) return;
    if (type === FromGuest.EXIT || type === FromGuest.ERROR) this.#commands.delete(id);
    command.handle(type, body);
  }
}
