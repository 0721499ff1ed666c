import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

/** Turns a TypeScript file and what it imports by path into JavaScript below `folder`; returns the script's place there. */
export async function build(script: string, folder: string): Promise<string> {
  const done = new Map<string, string>();
  const emit = (path: string): string => {
    const known = done.get(path);
    if (known) return known;
    const target = join(folder, 'js', `${done.size}-${basename(path).replace(/\.m?ts$/, '')}.mjs`);
    done.set(path, target);
    const source = readFileSync(path, 'utf8').replace(/from (['"])((?:\.|\/)[^'"]+)\1/g, (_all, quote: string, name: string) => {
      const absolute = name.startsWith('/') ? name : join(dirname(path), name);
      return `from ${quote}${emit(absolute.replace(/\.js$/, '.ts'))}${quote}`;
    });
    const { outputText } = ts.transpileModule(source, { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext } });
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, outputText);
    return target;
  };
  return emit(script.startsWith('file:') ? fileURLToPath(script) : script);
}
