import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { VmletError } from '../../errors.js';
import type { ByteSource } from '../boot/byte-source.js';

/** A file that does not change. It is open only while something is read; what fails then throws ERR_VMLET_IMAGE_NOT_FOUND. */
export class FileBytes implements ByteSource {
  readonly length: number;

  constructor(readonly path: string) {
    this.length = this.#use(file => fstatSync(file).size);
  }

  slice(start: number, end: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(end, this.length) - start));
    this.copy(start, bytes);
    return bytes;
  }

  copy(start: number, into: Uint8Array): void {
    this.#use(file => {
      for (let done = 0; done < into.length; ) {
        const count = readSync(file, into, done, into.length - done, start + done);
        if (count === 0) throw new Error('the file has become shorter');
        done += count;
      }
    });
  }

  #use<T>(body: (file: number) => T): T {
    let file: number | undefined;
    try {
      file = openSync(this.path, 'r');
      return body(file);
    } catch (cause) {
      throw new VmletError('ERR_VMLET_IMAGE_NOT_FOUND', `cannot read ${this.path}: ${(cause as Error).message}`, { cause, hint: 'start again: what is missing in the cache is made anew' });
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }
}
