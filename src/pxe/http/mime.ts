/** By suffix. UEFI's HTTP boot makes a RAM disk of what has one of its two disk types, and runs what has 'application/efi'. */
const TYPES: Readonly<Record<string, string>> = {
  efi: 'application/efi',
  iso: 'application/vnd.efi-iso',
  img: 'application/vnd.efi-img',
  ipxe: 'text/plain',
  cfg: 'text/plain',
  txt: 'text/plain',
  ks: 'text/plain',
  sh: 'text/plain',
  html: 'text/html; charset=utf-8',
  json: 'application/json',
  yaml: 'application/yaml',
  yml: 'application/yaml',
  xml: 'application/xml',
  gz: 'application/gzip',
  xz: 'application/x-xz',
  zst: 'application/zstd',
  tar: 'application/x-tar',
  deb: 'application/vnd.debian.binary-package',
};

export const mimeType = (path: string): string => {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const dot = name.lastIndexOf('.');
  return (dot > 0 ? TYPES[name.slice(dot + 1).toLowerCase()] : undefined) ?? 'application/octet-stream';
};
