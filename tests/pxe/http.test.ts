import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/host/clock.js';
import { HttpConnection } from '../../src/pxe/http/connection.js';
import { HttpFileService, parseRange, type HttpResponse } from '../../src/pxe/http/files.js';
import { SignedUrls } from '../../src/pxe/http/signed.js';
import { bytesFile, VirtualFiles, type FileSource } from '../../src/pxe/files.js';
import { concatBytes, utf8 } from '../../src/pxe/bytes.js';
import { PxeJournal } from '../../src/pxe/log.js';
import { patternBytes } from './support.js';

const signer = { sign: (text: string) => createHmac('sha256', 'key').update(text).digest('hex') };
const lab = (signed?: SignedUrls) => {
  const clock = new ManualClock();
  const journal = new PxeJournal();
  const contents = patternBytes(1000);
  let open = 0;
  const virtual = new VirtualFiles().set('a/vmlinuz', '');
  const files: FileSource = {
    open: (request, client) => {
      if (!['/f.img', 'f.img', '/dir/a b', 'dir/a b'].includes(request)) return virtual.open(request, client);
      open++;
      const file = bytesFile(contents, 1_700_000_000);
      return { ...file, close: () => open-- };
    },
  };
  const service = new HttpFileService({ clock, files, log: journal, signed });
  const get = (target: string, headers: Record<string, string> = {}, method = 'GET'): HttpResponse => service.handle({ method, target, headers, address: '10.0.0.2' });
  return { clock, journal, contents, service, get, openFiles: () => open };
};
const bodyOf = (response: HttpResponse): Uint8Array => {
  const { body } = response;
  if (body === undefined || body instanceof Uint8Array) return body ?? new Uint8Array(0);
  const into = new Uint8Array(body.end - body.start);
  body.file.read(body.start, into);
  body.file.close();
  return into;
};

describe('HTTP file service', () => {
  it('serves whole files with length, type, date and tag', () => {
    const it = lab();
    const response = it.get('/f.img?x=1');
    expect(response).toMatchObject({ status: 200, headers: { 'Content-Length': '1000', 'Content-Type': 'application/vnd.efi-img', 'Accept-Ranges': 'bytes', 'Last-Modified': 'Tue, 14 Nov 2023 22:13:20 GMT' } });
    expect(bodyOf(response)).toEqual(it.contents);
    expect(it.get('http://host:8080/dir/a%20b').status).toBe(200);
    expect(it.get('/a/vmlinuz')).toMatchObject({ status: 200, headers: { 'Content-Length': '0' } });
  });

  it('answers HEAD as GET without a body, and closes the file', () => {
    const it = lab();
    const response = it.get('/f.img', {}, 'HEAD');
    expect(response).toMatchObject({ status: 200, headers: { 'Content-Length': '1000' } });
    expect(response.body).toBeUndefined();
    expect(it.openFiles()).toBe(0);
    expect(it.get('/missing', {}, 'HEAD')).toMatchObject({ status: 404, body: undefined });
  });

  it.each([
    ['bytes=0-0', 0, 1],
    ['bytes=10-19', 10, 20],
    ['bytes=990-', 990, 1000],
    ['bytes=-5', 995, 1000],
    ['bytes=-5000', 0, 1000],
    ['bytes=10-99999', 10, 1000],
  ])('serves %s', (range, start, end) => {
    const it = lab();
    const response = it.get('/f.img', { range });
    expect(response).toMatchObject({ status: 206, headers: { 'Content-Range': `bytes ${start}-${end - 1}/1000`, 'Content-Length': String(end - start) } });
    expect(bodyOf(response)).toEqual(it.contents.subarray(start, end));
  });

  it('refuses and ignores other ranges', () => {
    const it = lab();
    for (const range of ['bytes=1000-', 'bytes=-0', 'bytes=5000-6000']) expect(it.get('/f.img', { range })).toMatchObject({ status: 416, headers: { 'Content-Range': 'bytes */1000' } });
    for (const range of ['bytes=5-1', 'bytes=-', 'bytes=0-1,5-6', 'lines=1-2', 'bytes=a-b']) expect(it.get('/f.img', { range }).status).toBe(200);
    expect(parseRange('bytes=-1', 0)).toBe('unsatisfiable');
    expect(it.get('/f.img', { range: 'bytes=0-1', 'if-range': '"other"' }).status).toBe(200);
  });

  it('obeys conditions', () => {
    const it = lab();
    const tag = it.get('/f.img').headers['ETag'];
    expect(it.get('/f.img', { 'if-none-match': `"x", W/${tag}` }).status).toBe(304);
    expect(it.get('/f.img', { 'if-none-match': '"x"', 'if-modified-since': 'Tue, 14 Nov 2023 22:13:20 GMT' }).status).toBe(200);
    expect(it.get('/f.img', { 'if-modified-since': 'Tue, 14 Nov 2023 22:13:20 GMT' }).status).toBe(304);
    expect(it.get('/f.img', { 'if-modified-since': 'Tue, 14 Nov 2023 22:13:19 GMT' }).status).toBe(200);
    expect(it.get('/f.img', { 'if-modified-since': 'rubbish' }).status).toBe(200);
    expect(it.get('/f.img', { 'if-match': '"x"' }).status).toBe(412);
    expect(it.get('/f.img', { 'if-unmodified-since': 'Tue, 14 Nov 2023 22:13:19 GMT' }).status).toBe(412);
    expect(it.get('/f.img', { range: 'bytes=0-1', 'if-range': tag }).status).toBe(206);
  });

  it('lets nobody out of the root, and takes GET and HEAD only', () => {
    const it = lab();
    for (const target of ['/../etc/passwd', '/%2e%2e/etc/passwd', '/a%00b', '/a%5cb', '/..%2fetc']) expect(it.get(target).status, target).toBe(403);
    expect(it.get('/%ff').status).toBe(400);
    expect(it.get('/').status).toBe(404);
    expect(it.get('/f.img', {}, 'POST')).toMatchObject({ status: 405, headers: { Allow: 'GET, HEAD' } });
    expect(it.journal.events.every(event => event.outcome === 'refused' && event.reason)).toBe(true);
  });

  it('serves signed URLs for their file, their time and nothing else', () => {
    const signed = new SignedUrls(signer, 600);
    const it = lab(signed);
    const url = signed.path('dir/a b', '52:54:00:12:34:56', 0);
    expect(url).toMatch(/^\/signed\/258-525400123456-[0-9a-f]{40}\/dir\/a%20b$/);
    expect(it.get(url).status).toBe(200);
    expect(it.get(url.replace('a%20b', 'c')).status).toBe(403);
    expect(it.get(url.replace('258', '259')).status).toBe(403);
    expect(it.get(url.replace('525400123456', '525400123457')).status).toBe(403);
    expect(it.get('/dir/a%20b').status).toBe(403);
    expect(it.get('/signed/dir').status).toBe(403);
    it.clock.advance(601e9);
    expect(it.get(url).status).toBe(403);
    expect(it.journal.events.at(-1)!.reason).toBe('the URL is too old');
  });
});

describe('HTTP over a byte stream', () => {
  const talk = (input: Uint8Array[], room = Infinity) => {
    const it = lab();
    const parts: Uint8Array[] = [];
    let ended = false;
    let left = room;
    const connection = new HttpConnection(
      it.service,
      {
        write: bytes => {
          parts.push(bytes.slice());
          left -= bytes.length;
          return left > 0;
        },
        end: () => (ended = true),
      },
      '10.0.0.2',
    );
    for (const piece of input) connection.receive(piece);
    for (let i = 0; i < 100; i++) {
      left = room;
      connection.resume();
    }
    return { text: new TextDecoder('latin1').decode(concatBytes(parts)), ended, openFiles: it.openFiles() };
  };
  const request = (line: string, ...headers: string[]): Uint8Array => utf8([line, 'Host: x', ...headers, '', ''].join('\r\n'));

  it('answers pipelined requests in order and stays open', () => {
    const { text, ended, openFiles } = talk([concatBytes([request('GET /f.img HTTP/1.1', 'Range: bytes=0-3'), request('HEAD /f.img HTTP/1.1'), request('GET /no HTTP/1.1')])]);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 206', 'HTTP/1.1 200', 'HTTP/1.1 404']);
    expect(ended).toBe(false);
    expect(openFiles).toBe(0);
  });

  it('takes requests byte by byte, and sends as there is room', () => {
    const bytes = request('GET /f.img HTTP/1.0');
    const { text, ended } = talk(Array.from(bytes, byte => Uint8Array.of(byte)), 100);
    expect(text).toContain('Content-Length: 1000\r\nConnection: close');
    expect(text.length).toBe(text.indexOf('\r\n\r\n') + 4 + new TextDecoder('latin1').decode(patternBytes(1000)).length);
    expect(ended).toBe(true);
  });

  it.each([
    ['GET /f.img', 400],
    ['GET /f.img HTTP/2.0', 505],
    ['GE T /f.img HTTP/1.1', 400],
    ['DELETE /f.img HTTP/1.1', 405],
  ])('answers %s with %i', (line, status) => expect(talk([request(line)]).text).toMatch(new RegExp(`^HTTP/1.1 ${status} `)));

  it('bounds what it takes', () => {
    expect(talk([utf8(`GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}`)])).toMatchObject({ text: expect.stringMatching(/^HTTP\/1\.1 431/), ended: true });
    expect(talk([utf8('x'.repeat(70_000))])).toMatchObject({ text: expect.stringMatching(/^HTTP\/1\.1 413/), ended: true });
    expect(talk([request('GET /f.img HTTP/1.1', 'Content-Length: 5')]).text).toMatch(/^HTTP\/1\.1 413/);
    expect(talk([request('GET /f.img HTTP/1.1', 'bad header')]).text).toMatch(/^HTTP\/1\.1 400/);
  });

  it('survives rubbish', () => {
    for (let seed = 1; seed < 300; seed++) talk([patternBytes(seed * 3, seed), utf8('\r\n\r\n'), request('GET /f.img HTTP/1.1')]);
  });
});
