import type { Command } from 'commander';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CliContext } from '../run-cli.js';
import { Notes } from '../io.js';

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

export const addImageCommand = (program: Command, context: CliContext, done: (code: number) => void): void => {
  const { stdout } = context;
  const image = program.command('image').description('the built-in guests').helpCommand(false);

  image
    .command('ls')
    .description('list the guests there are')
    .option('--json', 'as JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const { loadRecipe, recipeNames } = await import('../../image/recipe.js');
      const cached = await cachedImages();
      const rows = await Promise.all(
        (await recipeNames()).map(async name => {
          const { arch, description } = await loadRecipe(name);
          const entries = cached.filter(entry => entry.recipe === name);
          return { name, arch, description, cached: entries.length > 0, bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0) };
        }),
      );
      if (json) stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`);
      else for (const row of rows) stdout.write(`${row.name.padEnd(14)} ${row.arch.padEnd(7)} ${(row.cached ? megabytes(row.bytes) : '-').padStart(9)}  ${row.description}\n`);
      done(0);
    });

  image
    .command('pull')
    .description('fetch and build guests ahead of time')
    .argument('<name...>')
    .option('--mirror <url>', "root of a Debian archive, in place of this machine's apt")
    .option('--refresh', 'fetch again what is there')
    .action(async (names: string[], { mirror, refresh }: { mirror?: string; refresh?: boolean }) => {
      const { resolveImage } = await import('../../image/resolve.js');
      const notes = new Notes(context.stderr);
      const abort = new AbortController();
      const off = (['SIGINT', 'SIGTERM'] as const).map((name, i) =>
        context.io.onSignal(name, () => {
          done(i === 0 ? 130 : 143);
          abort.abort();
        }),
      );
      try {
        for (const name of names) {
          const made = await resolveImage(name, { mirror, refresh, signal: abort.signal, onProgress: text => notes.say(text) });
          stdout.write(`${name} ${made.kernelVersion}\n`);
        }
        done(0);
      } catch (error) {
        if (!abort.signal.aborted) throw error;
      } finally {
        for (const undo of off) undo();
      }
    });

  image
    .command('rm')
    .description('forget guests; they are fetched again when needed')
    .argument('<name...>')
    .action(async (names: string[]) => {
      const { loadRecipe } = await import('../../image/recipe.js');
      for (const name of names) await loadRecipe(name);
      for (const { recipe, folder } of await cachedImages()) if (names.includes(recipe)) await rm(folder, { recursive: true, force: true });
      done(0);
    });
};

/** The guests in the cache. */
export const cachedImages = async (): Promise<{ recipe: string; folder: string; bytes: number }[]> => {
  const [{ readdir, stat, readFile }, { cacheFolder }] = await Promise.all([import('node:fs/promises'), import('../../image/cache.js')]);
  const root = join(cacheFolder(), 'images');
  const found: { recipe: string; folder: string; bytes: number }[] = [];
  for (const name of (await readdir(root).catch(() => [])).sort()) {
    const folder = join(root, name);
    try {
      const { meta } = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as { meta: { recipe: string } };
      const sizes = await Promise.all((await readdir(folder)).map(async file => (await stat(join(folder, file))).size));
      found.push({ recipe: meta.recipe, folder, bytes: sizes.reduce((sum, size) => sum + size, 0) });
    } catch {
      // Unfinished or damaged: it will be built again.
    }
  }
  return found;
};
