// HTTP/1.1 on one byte stream (RFC 9112), for wires inside the process; real sockets go through the host's HTTP server.
import { concatBytes, utf8 } from '../bytes.js';
import { statusText, textResponse, type HttpFileService, type HttpResponse } from './files.js';

/** The server's end of a stream. `write` returns false when it is full; `resume()` goes on then. */
export interface HttpStream {
  write(bytes: Uint8Array): boolean;
  /** No more will be written. */
  end(): void;
}

const MAX_HEAD_BYTES = 16384;
const CHUNK_BYTES = 16384;
const MAX_PIPELINED_BYTES = 65536;

/** One connection: requests in, answers out, in order; keep-alive and pipelining included. Request bodies are refused. */
export class HttpConnection {
  readonly #service: HttpFileService;
  readonly #stream: HttpStream;
  readonly #address: string;
  #input: Uint8Array = new Uint8Array(0);
  #body: { file: { read(offset: number, into: Uint8Array): number; close(): void }; at: number; end: number } | undefined;
  #lastAnswer = false;
  #closed = false;

  constructor(service: HttpFileService, stream: HttpStream, address: string) {
    this.#service = service;
    this.#stream = stream;
    this.#address = address;
  }

  receive(bytes: Uint8Array): void {
    if (this.#closed || this.#lastAnswer) return;
    this.#input = this.#input.length === 0 ? bytes.slice() : concatBytes([this.#input, bytes]);
    if (this.#input.length > MAX_PIPELINED_BYTES) return this.#answer(textResponse(413, 'GET'), false);
    this.resume();
  }

  /** There is room again. */
  resume(): void {
    while (!this.#closed) {
      if (this.#body && !this.#pump()) return;
      if (this.#lastAnswer) {
        this.close();
        this.#stream.end();
        return;
      }
      if (!this.#next()) return;
    }
  }

  /** The stream is gone. */
  close(): void {
    this.#closed = true;
    this.#body?.file.close();
    this.#body = undefined;
    this.#input = new Uint8Array(0);
  }

  /** Sends the body as far as there is room; true when all is sent. */
  #pump(): boolean {
    const body = this.#body!;
    while (body.at < body.end) {
      const into = new Uint8Array(Math.min(CHUNK_BYTES, body.end - body.at));
      let length = 0;
      try {
        length = body.file.read(body.at, into);
      } catch {
        length = 0;
      }
      if (length === 0) {
        // The promised length cannot be kept: only a broken connection tells that.
        this.close();
        this.#stream.end();
        return false;
      }
      body.at += length;
      if (!this.#stream.write(into.subarray(0, length)) && body.at < body.end) return false;
    }
    body.file.close();
    this.#body = undefined;
    return true;
  }

  /** Takes the next request from the input; false when there is none yet. */
  #next(): boolean {
    let start = 0;
    while (this.#input[start] === 13 || this.#input[start] === 10) start++;
    const end = headEnd(this.#input, start);
    if (end === undefined) {
      if (this.#input.length > MAX_HEAD_BYTES) this.#answer(textResponse(431, 'GET'), false);
      return this.#lastAnswer;
    }
    const head = new TextDecoder('latin1').decode(this.#input.subarray(start, end));
    this.#input = this.#input.slice(end);
    const [line, ...rest] = head.trimEnd().split(/\r?\n/);
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP\/(\d)\.(\d)$/.exec(line);
    if (!match) return this.#answer(textResponse(400, 'GET'), false), true;
    const headers: Record<string, string> = Object.create(null) as Record<string, string>;
    for (const field of rest) {
      const colon = field.indexOf(':');
      if (colon <= 0 || /\s/.test(field.slice(0, colon))) return this.#answer(textResponse(400, 'GET'), false), true;
      headers[field.slice(0, colon).toLowerCase()] = field.slice(colon + 1).trim();
    }
    const [, method, target, major, minor] = match;
    if (major !== '1') return this.#answer(textResponse(505, method), false), true;
    if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0) return this.#answer(textResponse(413, method), false), true;
    const connection = (headers['connection'] ?? '').toLowerCase();
    const keep = minor === '0' ? connection.includes('keep-alive') : !connection.includes('close');
    this.#answer(this.#service.handle({ method, target, headers, address: this.#address }), keep);
    return true;
  }

  #answer(response: HttpResponse, keep: boolean): void {
    const { status, headers, body } = response;
    this.#lastAnswer = !keep;
    const lines = [`HTTP/1.1 ${status} ${statusText(status)}`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), `Connection: ${keep ? 'keep-alive' : 'close'}`, '', ''];
    const head = utf8(lines.join('\r\n'));
    if (body === undefined) this.#stream.write(head);
    else if (body instanceof Uint8Array) this.#stream.write(concatBytes([head, body]));
    else {
      this.#body = { file: body.file, at: body.start, end: body.end };
      this.#stream.write(head);
    }
    if (!keep) this.resume();
  }
}

/** Where the empty line after the headers ends. */
const headEnd = (bytes: Uint8Array, start: number): number | undefined => {
  for (let at = bytes.indexOf(10, start); at >= 0; at = bytes.indexOf(10, at + 1)) {
    if (bytes[at + 1] === 10) return at + 2;
    if (bytes[at + 1] === 13 && bytes[at + 2] === 10) return at + 3;
  }
  return undefined;
};
