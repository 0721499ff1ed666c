/** A kernel to boot: paths from the TFTP root ('/vmlinuz') or URLs. */
export interface KernelBoot {
  readonly kernel: string;
  readonly initrd?: readonly string[];
  readonly cmdline?: string;
}

const RETRIES = 5;
const oneLine = (text: string): string => text.replace(/[\r\n\0]+/g, ' ').trim();

/** The last name of a path or URL, as iPXE and EFI see a file; only what stands for itself on a command line. */
const nameOf = (path: string, fallback: string): string => {
  const name = path.split(/[?#]/)[0].split('/').pop() ?? '';
  return /^[A-Za-z0-9._-]+$/.test(name) ? name : fallback;
};

/**
 * An iPXE script. Images of an earlier try are freed first, each initrd has a name and the command line names it (an EFI stub finds it by that and
 * by nothing else), a failed transfer is tried again a few times and is then told before the firmware goes on.
 */
export const ipxeScript = (boot: KernelBoot): string => {
  const names = uniqueNames(boot.initrd ?? []);
  const cmdline = [...names.map(name => `initrd=${name}`), oneLine(boot.cmdline ?? '')].filter(Boolean).join(' ');
  return [
    '#!ipxe',
    'set tries:int32 0',
    ':try',
    'imgfree',
    `kernel ${oneLine(boot.kernel)} ${cmdline}`.trimEnd() + ' || goto failed',
    ...names.map((name, i) => `initrd --name ${name} ${oneLine(boot.initrd![i])} || goto failed`),
    'boot || goto failed',
    ':failed',
    'inc tries',
    `iseq \${tries} ${RETRIES} && goto out ||`,
    'echo The transfer failed, trying again',
    'sleep 2',
    'goto try',
    ':out',
    `echo Booting from the network failed ${RETRIES} times`,
    'exit 1',
    '',
  ].join('\n');
};

const uniqueNames = (paths: readonly string[]): string[] => {
  const names: string[] = [];
  for (const [i, path] of paths.entries()) {
    const name = nameOf(path, `initrd${i}`);
    names.push(names.includes(name) ? `${i}-${name}` : name);
  }
  return names;
};

/** A PXELINUX configuration that boots at once. */
export const pxelinuxConfig = (boot: KernelBoot): string => {
  const initrd = (boot.initrd ?? []).map(oneLine);
  const append = oneLine(boot.cmdline ?? '');
  return [
    'DEFAULT vmlet',
    'PROMPT 0',
    'LABEL vmlet',
    `  KERNEL ${oneLine(boot.kernel)}`,
    ...(initrd.length > 0 ? [`  INITRD ${initrd.join(',')}`] : []),
    ...(append ? [`  APPEND ${append}`] : []),
    '',
  ].join('\n');
};
