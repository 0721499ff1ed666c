import { mismatch, type BootClient, type BootDecision, type BootPlatform, type BootRule, type Booter } from './booter.js';
import { missing, type FileClient, type VirtualFiles } from './files.js';
import type { PathRefusal } from './path-guard.js';
import { ipxeScript, pxelinuxConfig } from './scripts.js';

export interface RuleBooterOptions {
  readonly rules: readonly BootRule[];
  /** TFTP paths of the iPXE loader of each platform, for rules that need iPXE: { bios: 'undionly.kpxe', 'efi-x64': 'ipxe.efi' }. */
  readonly ipxeLoaders?: Partial<Record<BootPlatform, string>>;
  /** TFTP path of PXELINUX; default 'pxelinux.0'. */
  readonly pxelinuxLoader?: string;
  /** The URL of a path on our HTTP server for a client, when there is one; used where the client can do HTTP. */
  readonly httpUrl?: (path: string, client: BootClient) => string;
}

const MAX_CLIENTS = 1000;
const isUrl = (text: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
/** Generated files live below this folder; the folder next to it is the client's. */
export const GENERATED_PREFIX = 'vmlet/';
const folderOf = (mac: string): string => `${GENERATED_PREFIX}${mac.replaceAll(':', '-')}`;

/** Policy from a list of rules. Serves the scripts that it names by `files(…)`. */
export class RuleBooter implements Booter {
  readonly #options: RuleBooterOptions;
  /** Who was last given a rule with a kernel, by address: loaders probe for their configuration from there. */
  readonly #byAddress = new Map<string, { rule: BootRule; client: BootClient }>();
  readonly #byMac = new Map<string, { rule: BootRule; client: BootClient }>();

  constructor(options: RuleBooterOptions) {
    this.#options = options;
  }

  decide(client: BootClient): BootDecision {
    if (client.kind === 'dhcp') return { boot: 'refuse', reason: 'the client asks for no boot file' };
    const reasons: string[] = [];
    for (const [i, rule] of this.#options.rules.entries()) {
      const name = rule.name ?? `rule ${i + 1}`;
      const why = rule.match && mismatch(rule.match, client);
      if (why === undefined) return this.#apply(rule, name, client);
      reasons.push(`${name}: ${why}`);
    }
    return { boot: 'refuse', reason: reasons.length === 0 ? 'there are no boot rules' : `no boot rule matches (${reasons.slice(0, 5).join('; ')})` };
  }

  /** Makes the generated scripts and the names that loaders probe available. */
  files(into: VirtualFiles): void {
    into.setPrefix(GENERATED_PREFIX, (_client, path) => this.#generated(path));
    into.setPrefix('pxelinux.cfg/', client => this.#probed(client, 'pxelinux'));
    into.set('autoexec.ipxe', client => this.#probed(client, 'ipxe'));
  }

  #apply(rule: BootRule, name: string, client: BootClient): BootDecision {
    if (rule.deny !== undefined) return { boot: 'refuse', reason: `${name}: ${rule.deny}` };
    if (rule.local) return { boot: 'local', rule: name };
    const common = { boot: 'file' as const, rule: name, server: rule.server, rootPath: rule.rootPath, pxelinux: rule.pxelinux };
    if (rule.file !== undefined && this.#isLoop(rule, client)) {
      return { boot: 'refuse', reason: `${name}: iPXE would load ${rule.file} again and again; add a rule for iPXE (match: {userClass: iPXE}) before it` };
    }
    if (rule.file !== undefined) return { ...common, file: this.#reachable(rule.file, client) };
    if (rule.ipxe === undefined && rule.kernel === undefined) return { boot: 'refuse', reason: `${name} matches but names nothing to boot` };
    this.#remember(rule, client);
    if (rule.via === 'pxelinux' && rule.kernel !== undefined) {
      if (client.platform !== 'bios') return { boot: 'refuse', reason: `${name}: PXELINUX runs on a BIOS, the client is ${client.platform}` };
      return { ...common, file: this.#options.pxelinuxLoader ?? 'pxelinux.0', pxelinux: { ...rule.pxelinux, config: `/${folderOf(client.mac)}/pxelinux.cfg` } };
    }
    if (client.kind === 'ipxe') {
      const script = rule.ipxe ?? `${folderOf(client.mac)}/boot.ipxe`;
      const needed = isUrl(script) && script.startsWith('http') ? script.split(':')[0] : undefined;
      if (needed !== undefined && client.ipxe!.features.size > 0 && !client.ipxe!.features.has(needed)) {
return { boot: 'refuse', reason: `${name}: this iPXE has no ${needed}, which ${script} needs` };
      }
      return { ...common, file: this.#reachable(script, client) };
    }
    const loader = this.#options.ipxeLoaders?.[client.platform];
    if (loader === undefined) return { boot: 'refuse', reason: `${name} needs iPXE, and no iPXE loader is known for ${client.platform}` };
    return { boot: 'file', file: this.#reachable(loader, client), rule: `${name} (iPXE first)` };
  }

  /** Whether iPXE would be given iPXE again and again by a rule that did not mean iPXE. */
  #isLoop(rule: BootRule, client: BootClient): boolean {
    const { userClass, kind, features } = rule.match ?? {};
    if (client.kind !== 'ipxe' || userClass !== undefined || kind !== undefined || features !== undefined) return false;
    const name = rule.file!.split('/').pop()!;
    return Object.values(this.#options.ipxeLoaders ?? {}).includes(rule.file!) || /^(ipxe|undionly|snponly|snp|intel)[a-z0-9._-]*\.(k?k?pxe|lkrn|efi|0)$/i.test(name);
  }

  #reachable(file: string, client: BootClient): string {
    const { httpUrl } = this.#options;
    if (isUrl(file) || !httpUrl) return file;
    const speaksHttp = client.kind === 'http' || client.ipxe?.features.has('http') === true;
    return speaksHttp ? httpUrl(file.replace(/^\/+/, ''), client) : file;
  }

  #remember(rule: BootRule, client: BootClient): void {
    const entry = { rule, client };
    const keep = (map: Map<string, typeof entry>, key: string): void => {
      map.delete(key);
      map.set(key, entry);
      if (map.size > MAX_CLIENTS) map.delete(map.keys().next().value!);
    };
    keep(this.#byMac, folderOf(client.mac));
    if (client.address !== undefined) keep(this.#byAddress, client.address);
  }

  #generated(path: string): string | PathRefusal {
    const cut = path.lastIndexOf('/');
    const entry = this.#byMac.get(path.slice(0, cut));
    const name = path.slice(cut + 1);
    if (!entry) return missing('nothing was generated for this client');
    if (name === 'boot.ipxe') return this.#script(entry.rule, entry.client);
    return name === 'pxelinux.cfg' ? this.#config(entry.rule) : missing('no such generated file');
  }

  #probed(client: FileClient, loader: 'ipxe' | 'pxelinux'): string | PathRefusal {
    const entry = this.#byAddress.get(client.address);
    if (entry?.rule.kernel === undefined) return missing('loaders probe for this name; there is nothing for this client');
    return loader === 'ipxe' ? this.#script(entry.rule, entry.client) : this.#config(entry.rule);
  }

  #script(rule: BootRule, client: BootClient): string {
    // A path from the root, because the script's own folder is a generated one.
    const absolute = (path: string): string => {
      const reachable = this.#reachable(path, client);
      return isUrl(reachable) ? reachable : `/${reachable.replace(/^\/+/, '')}`;
    };
    return ipxeScript({ kernel: absolute(rule.kernel ?? ''), initrd: rule.initrd?.map(absolute), cmdline: rule.cmdline });
  }

  #config(rule: BootRule): string {
    const absolute = (path: string): string => (isUrl(path) ? path : `/${path.replace(/^\/+/, '')}`);
    return pxelinuxConfig({ kernel: absolute(rule.kernel ?? ''), initrd: rule.initrd?.map(absolute), cmdline: rule.cmdline });
  }
}
