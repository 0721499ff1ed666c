// A file server's answers without a socket: RFC 9110 (methods, conditions, ranges), as boot loaders and UEFI firmware need them.
import type { Clock } from '../../host/clock.js';
import { printable } from '../bytes.js';
import { NS_PER_S } from '../deadlines.js';
import { isRefusal, type FileHandle, type FileSource } from '../files.js';
import type { PxeLog, PxeOutcome } from '../log.js';
import { mimeType } from './mime.js';
import type { SignedUrls } from './signed.js';

export interface HttpRequest {
  readonly method: string;
  /** As on the request line: path and query. */
  readonly target: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly address: string;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** What to send: bytes `start` to `end` (exclusive) of a file, which the sender closes. Absent for HEAD and empty answers. */
  readonly body?: { readonly file: FileHandle; readonly start: number; readonly end: number } | Uint8Array;
}

export interface HttpFileOptions {
  readonly clock: Clock;
  readonly files: FileSource;
  readonly log?: PxeLog;
  /** Serve signed URLs only. */
  readonly signed?: SignedUrls;
  readonly allow?: (address: string) => boolean;
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  200: 'OK', 206: 'Partial Content', 304: 'Not Modified', 400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found', 405: 'Method Not Allowed', 412: 'Precondition Failed',
  413: 'Content Too Large', 416: 'Range Not Satisfiable', 431: 'Request Header Fields Too Large', 500: 'Internal Server Error', 501: 'Not Implemented', 503: 'Service Unavailable', 505: 'HTTP Version Not Supported',
};

export const statusText = (status: number): string => STATUS_TEXT[status] ?? 'Unknown';

/** A short answer in text. */
export const textResponse = (status: number, method: string, headers: Record<string, string> = {}): HttpResponse => {
  const text = new TextEncoder().encode(`${status} ${statusText(status)}\n`);
  return { status, headers: { 'Content-Type': 'text/plain', 'Content-Length': String(text.length), ...headers }, body: method === 'HEAD' ? undefined : text };
};

const httpDate = (seconds: number): string => new Date(seconds * 1000).toUTCString();

/** Weak where only the date and size are known, which is always. */
const entityTag = (file: FileHandle): string => `"${file.size.toString(16)}-${(file.modified ?? 0).toString(16)}"`;

/** The one range of a Range header: undefined when it is to be ignored, 'unsatisfiable' for 416. */
export const parseRange = (header: string, size: number): { readonly start: number; readonly end: number } | 'unsatisfiable' | undefined => {
  const match = /^bytes=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*$/i.exec(header);
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  if (match[1] === '') {
    const suffix = Number(match[2]);
    return suffix === 0 || size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - suffix), end: size };
  }
  const start = Number(match[1]);
  const last = match[2] === '' ? size - 1 : Number(match[2]);
  if (last < start && match[2] !== '') return undefined;
  return start >= size ? 'unsatisfiable' : { start, end: Math.min(last + 1, size) };
};

const lists = (header: string, tag: string): boolean => header.split(',').some(entry => entry.trim().replace(/^W\//, '') === tag || entry.trim() === '*');

export class HttpFileService {
  readonly #options: HttpFileOptions;

  constructor(options: HttpFileOptions) {
    this.#options = options;
  }

  /** Answers one request; never throws. */
  handle(request: HttpRequest): HttpResponse {
    const { method, address } = request;
    const what = `${printable(method)} ${printable(request.target)}`;
    const answer = (status: number, outcome: PxeOutcome, reason?: string, headers: Record<string, string> = {}): HttpResponse => {
      this.#log(address, what, outcome, reason);
      return textResponse(status, method, headers);
    };
    if (this.#options.allow && !this.#options.allow(address)) return answer(403, 'refused', 'the address is not one of our clients');
    if (method !== 'GET' && method !== 'HEAD') return answer(405, 'refused', 'only GET and HEAD are served', { Allow: 'GET, HEAD' });
    let path: string;
    try {
      // Absolute form (RFC 9112, 3.2.2) is what proxies get; the host does not matter here.
      path = decodeURIComponent(request.target.replace(/^https?:\/\/[^/]*/i, '').split(/[?#]/)[0]);
    } catch {
      return answer(400, 'refused', 'the path is not UTF-8 in percent signs');
    }
    const { signed, clock } = this.#options;
    if (signed) {
      const opened = signed.open(path, clock.now / NS_PER_S);
      if (typeof opened !== 'string') return answer(403, 'refused', opened.reason);
      path = opened;
    }
    let file: FileHandle | undefined;
    try {
      const result = this.#options.files.open(path, { address, service: 'http' });
      if (isRefusal(result)) return answer(result.refused === 'missing' ? 404 : 403, 'refused', result.reason);
      file = result;
      const response = this.#serve(request, path, file);
      if (response.body === undefined || response.body instanceof Uint8Array) file.close();
      this.#log(address, what, response.status < 400 ? 'served' : 'refused', response.status === 200 ? undefined : `${response.status} ${statusText(response.status)}`);
      return response;
    } catch (error) {
      try {
        file?.close();
      } catch {
        // It is being told anyway.
      }
      return answer(500, 'failed', error instanceof Error ? error.message : String(error));
    }
  }

  #serve(request: HttpRequest, path: string, file: FileHandle): HttpResponse {
    const { headers: asked, method } = request;
    const tag = entityTag(file);
    const headers: Record<string, string> = { 'Content-Type': mimeType(path), 'Accept-Ranges': 'bytes', ETag: tag };
    if (file.modified !== undefined) headers['Last-Modified'] = httpDate(file.modified);
    const since = (header: string | undefined): number | undefined => {
      const ms = header === undefined ? NaN : Date.parse(header);
      return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000);
    };
    const match = asked['if-match'];
    const unmodified = since(asked['if-unmodified-since']);
    if (match !== undefined ? !lists(match, tag) : unmodified !== undefined && file.modified !== undefined && file.modified > unmodified) return textResponse(412, method);
    const noneMatch = asked['if-none-match'];
    const modified = since(asked['if-modified-since']);
    if (noneMatch !== undefined ? lists(noneMatch, tag) : modified !== undefined && file.modified !== undefined && file.modified <= modified) return { status: 304, headers };
    const whole = { start: 0, end: file.size };
    let range: ReturnType<typeof parseRange>;
    const condition = asked['if-range'];
    const stillTheSame = condition === undefined || condition.trim() === tag || (file.modified !== undefined && since(condition) === file.modified);
    if (asked['range'] !== undefined && method === 'GET' && stillTheSame) range = parseRange(asked['range'], file.size);
    if (range === 'unsatisfiable') return textResponse(416, method, { 'Content-Range': `bytes */${file.size}` });
    const { start, end } = range ?? whole;
    if (range) headers['Content-Range'] = `bytes ${start}-${end - 1}/${file.size}`;
    headers['Content-Length'] = String(end - start);
    return { status: range ? 206 : 200, headers, body: method === 'HEAD' ? undefined : { file, start, end } };
  }

  #log(client: string, what: string, outcome: PxeOutcome, reason?: string): void {
    this.#options.log?.event({ atNs: this.#options.clock.now, service: 'http', outcome, client, what, reason });
  }
}
