import { describe, expect, it } from 'vitest';
import { guardPath, isInside } from '../../src/pxe/path-guard.js';

describe('path guard', () => {
  it.each([
    ['pxelinux.0', ['pxelinux.0']],
    ['/boot/vmlinuz', ['boot', 'vmlinuz']],
    ['//boot/./vmlinuz', ['boot', 'vmlinuz']],
    ['./a/b', ['a', 'b']],
    ['...', ['...']],
    ['a..b/..c', ['a..b', '..c']],
    ['dir with space/ü', ['dir with space', 'ü']],
    ['pxelinux.cfg/01-52-54-00-12-34-56', ['pxelinux.cfg', '01-52-54-00-12-34-56']],
  ])('takes %s as a path under the root', (request, names) => expect(guardPath(request)).toEqual(names));

  it.each([
    ['..'],
    ['../etc/passwd'],
    ['/../etc/passwd'],
    ['a/../../etc/passwd'],
    ['a/..'],
    ['a/b/../c'],
    ['a\0b'],
    ['..\\..\\windows'],
    ['a\\b'],
    ['C:/windows/win.ini'],
    ['c:secret'],
    ['bad\ufffdname'],
    ['x'.repeat(300)],
    ['a/'.repeat(600) + 'b'],
  ])('denies %j', request => expect(guardPath(request)).toMatchObject({ refused: 'denied' }));

  it.each([[''], ['/'], ['.'], ['./'], ['///']])('finds no file in %j', request => expect(guardPath(request)).toMatchObject({ refused: 'missing' }));

  it('compares with the separator', () => {
    expect(isInside('/var/data', '/var/data/file', '/')).toBe(true);
    expect(isInside('/var/data', '/var/data-private/file', '/')).toBe(false);
    expect(isInside('/var/data', '/var/data', '/')).toBe(false);
    expect(isInside('/var/data', '/var/data/', '/')).toBe(false);
    expect(isInside('/var/data', '/var', '/')).toBe(false);
    expect(isInside('/', '/etc/passwd', '/')).toBe(true);
    expect(isInside('C:\\srv', 'C:\\srv\\f', '\\')).toBe(true);
    expect(isInside('C:\\srv', 'C:\\srv2\\f', '\\')).toBe(false);
  });
});
