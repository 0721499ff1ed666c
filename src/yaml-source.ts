import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { VmletError } from './errors.js';

const MAX_ALIASES = 100;

/**
 * One value of a YAML text that people write, with the place where it stands: what is wrong with it is told as 'file:line: path: why'.
 * Every reader throws ERR_VMLET_CONFIG.
 */
export class YamlNode {
  readonly #source: YamlText;
  readonly #node: Node | null | undefined;
  /** As in `rules[1].match.arch`; empty for the whole text. */
  readonly path: string;

  constructor(source: YamlText, node: Node | null | undefined, path: string) {
    this.#source = source;
    this.#node = node;
    this.path = path;
  }

  get isMap(): boolean {
    return isMap(this.#node);
  }

  get isList(): boolean {
    return isSeq(this.#node);
  }

  get isText(): boolean {
    return isScalar(this.#node) && typeof this.#node.value === 'string';
  }

  fail(why: string, hint?: string): VmletError {
    const at = this.#node?.range?.[0];
    const where = `${this.#source.name}${at === undefined ? '' : `:${this.#source.lines.linePos(at).line}`}`;
    return new VmletError('ERR_VMLET_CONFIG', `${where}: ${this.path === '' ? '' : `${this.path}: `}${why}`, { hint });
  }

  /** The fields of a map; a key that is not among `keys` is an error. */
  fields<K extends string>(keys: readonly K[]): Partial<Record<K, YamlNode>> {
    if (!isMap(this.#node)) throw this.fail('it must be a map of fields', `fields are ${keys.join(', ')}`);
    const found: Partial<Record<K, YamlNode>> = {};
    for (const [name, node] of this.entries()) {
      if (!(keys as readonly string[]).includes(name)) throw node.fail('there is no such field', `fields are ${keys.join(', ')}`);
      found[name as K] = node;
    }
    return found;
  }

  /** The entries of a map whose names are the writer's. */
  entries(): [string, YamlNode][] {
    if (!isMap(this.#node)) throw this.fail('it must be a map of names');
    return this.#node.items.map(({ key, value }) => {
      const name = String(isScalar(key) ? key.value : key);
      return [name, new YamlNode(this.#source, this.#source.resolve(value as Node | null), this.path === '' ? name : `${this.path}.${name}`)];
    });
  }

  list(): YamlNode[] {
    if (!isSeq(this.#node)) throw this.fail('it must be a list');
    return this.#node.items.map((item, i) => new YamlNode(this.#source, this.#source.resolve(item as Node), `${this.path}[${i}]`));
  }

  /** A list, or one value in its place. */
  oneOrMore(): YamlNode[] {
    return this.isList ? this.list() : [this];
  }

  /** A text that is not empty; a number is taken as it was written. */
  text(): string {
    const value = this.#scalar();
    if (typeof value === 'number' && isScalar(this.#node)) return this.#node.source ?? String(value);
    if (typeof value !== 'string' || value === '') throw this.fail('it must be a text that is not empty');
    if (value.includes('\0')) throw this.fail('it holds a zero byte');
    return value;
  }

  number(least = -Infinity, most = Infinity): number {
    const value = this.#scalar();
    if (typeof value !== 'number' || !(value >= least && value <= most)) {
      throw this.fail(`it must be a number${least === -Infinity ? '' : ` from ${least}${most === Infinity ? '' : ` to ${most}`}`}`);
    }
    return value;
  }

  integer(least: number, most: number): number {
    const value = this.number(least, most);
    if (!Number.isInteger(value)) throw this.fail('it must be a whole number');
    return value;
  }

  boolean(): boolean {
    const value = this.#scalar();
    if (typeof value !== 'boolean') throw this.fail('it must be true or false');
    return value;
  }

  oneOf<T extends string>(choices: readonly T[]): T {
    const value = this.#scalar();
    if (!(choices as readonly unknown[]).includes(value)) throw this.fail(`'${String(value)}' is not known`, `it is ${choices.join(', ')}`);
    return value as T;
  }

  /** Text that is written as /pattern/flags, or plain text, which stands for itself. */
  pattern(): RegExp {
    const text = this.text();
    const slashes = /^\/(.*)\/([a-z]*)$/s.exec(text);
    try {
      return slashes ? new RegExp(slashes[1], slashes[2].replace(/[gy]/g, '')) : new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    } catch (error) {
      throw this.fail(`it is no regular expression: ${(error as Error).message}`);
    }
  }

  #scalar(): unknown {
    return isScalar(this.#node) ? this.#node.value : undefined;
  }
}

interface YamlText {
  readonly name: string;
  readonly lines: LineCounter;
  resolve(node: Node | null): Node | null | undefined;
}

/** Parses YAML 1.2. Throws ERR_VMLET_CONFIG with file, line and reason. `name` is what messages call the text. */
export const parseYaml = (text: string, name: string): YamlNode => {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [problem] = document.errors;
  if (problem) {
    const { line } = lines.linePos(problem.pos[0]);
    throw new VmletError('ERR_VMLET_CONFIG', `${name}:${line}: ${problem.message}`, { hint: 'the file must be YAML' });
  }
  let resolved = 0;
  const resolve = (node: Node | null): Node | null | undefined => {
    if (!isAlias(node)) return node;
    if (++resolved > MAX_ALIASES) throw new VmletError('ERR_VMLET_CONFIG', `${name}: it has more than ${MAX_ALIASES} uses of aliases`);
    return node.resolve(document);
  };
  return new YamlNode({ name, lines, resolve }, document.contents as Node | null, '');
};
