import { guardPath } from '../path-guard.js';
import { isRefusal } from '../files.js';

/** Makes a message authentication code of a text as at least 32 hex digits, with a key of its own. */
export interface Signer {
  sign(text: string): string;
}

const PREFIX = 'signed';

/**
 * URLs for one boot: '/signed/END-BOOT-MAC/path'. They name a client's boot, end soon, and give that one file; the suffix stays, which UEFI
 * and iPXE look at. What is not signed is not served.
 */
export class SignedUrls {
  readonly #signer: Signer;
  readonly #seconds: number;

  /** `seconds` is how long a URL is good for, on the clock. */
  constructor(signer: Signer, seconds = 600) {
    this.#signer = signer;
    this.#seconds = seconds;
  }

  /** The path part of an URL for a file in one boot, at a time of the clock. `boot` is letters and digits, the client's address or a number. */
  path(file: string, boot: string, nowSeconds: number): string {
    const name = file.split('/').filter(Boolean).join('/');
    const id = boot.replace(/[^A-Za-z0-9]/g, '') || '0';
    const end = Math.ceil(nowSeconds + this.#seconds).toString(16);
    return `/${PREFIX}/${end}-${id}-${this.#mac(end, id, name)}/${name.split('/').map(encodeURIComponent).join('/')}`;
  }

  /** The file that a decoded path gives access to, or why none. */
  open(path: string, nowSeconds: number): string | { readonly reason: string } {
    const names = guardPath(path);
    if (isRefusal(names)) return { reason: names.reason };
    const ticket = /^([0-9a-f]{1,12})-([A-Za-z0-9]{1,64})-([0-9a-f]{32,128})$/.exec(names[1] ?? '');
    if (names[0] !== PREFIX || !ticket || names.length < 3) return { reason: 'the URL is not signed' };
    const [, end, id, mac] = ticket;
    const file = names.slice(2).join('/');
    if (!equalTexts(mac, this.#mac(end, id, file))) return { reason: 'the signature of the URL is wrong' };
    if (parseInt(end, 16) < nowSeconds) return { reason: 'the URL is too old' };
    return file;
  }

  #mac(end: string, id: string, file: string): string {
    return this.#signer.sign(`${end}\n${id}\n${file}`).slice(0, 40);
  }
}

/** In a time that does not depend on where they differ. */
const equalTexts = (a: string, b: string): boolean => {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % (b.length || 1));
  return difference === 0;
};
