import { readdir, readFile } from 'node:fs/promises';
import { VmletError } from '../errors.js';
import type { GuestArch } from './kernel.js';

const SCHEMA = 1;
const FOLDER = new URL('../../images/', import.meta.url);

/** How a guest image is made of Debian packages. */
export interface Recipe {
  schema: number;
  name: string;
  description: string;
  arch: GuestArch;
  /** Debian's name of the architecture. */
  debianArch: string;
  /** Where a mirror is asked; apt uses the machine's own sources. */
  suite: string;
  components: string[];
  /** A kernel package, or a metapackage that depends on one. */
  kernel: string;
  packages: RecipePackage[];
  /** Path in the image of the busybox whose applets become commands. */
  busybox?: string;
  modules: {
    /** Loaded by init, in this order after what they need; an error when the kernel lacks one. */
    load: string[];
    /** On hand for modprobe; what the kernel lacks is left out. */
    include: string[];
  };
  files: RecipeFile[];
  /** Default kernel command line. */
  cmdline: string;
}

export interface RecipePackage {
  name: string;
  /** Files to take: the first path of `from` that the package has. */
  files: { from: string[]; to: string; mode: string }[];
}

export interface RecipeFile {
  path: string;
  /** Octal permissions. */
  mode: string;
  content: string;
}

export async function recipeNames(): Promise<string[]> {
  const names = await readdir(FOLDER).catch(() => []);
  return names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -5)).sort();
}

/** A built-in recipe by name. Throws ERR_VMLET_IMAGE_NOT_FOUND with the names there are. */
export async function loadRecipe(name: string): Promise<Recipe> {
  let text: string | undefined;
  if (/^[a-z0-9][a-z0-9.-]*$/.test(name)) text = await readFile(new URL(`${name}.json`, FOLDER), 'utf8').catch(() => undefined);
  if (text === undefined) {
    const names = await recipeNames();
    throw new VmletError('ERR_VMLET_IMAGE_NOT_FOUND', `there is no guest image named ${JSON.stringify(name)}`, {
      hint: `Use one of ${names.join(', ')}, or boot a kernel of your own with -k.`,
    });
  }
  try {
    return checkRecipe(JSON.parse(text));
  } catch (cause) {
    throw cause instanceof VmletError ? cause : wrong(name, 'it is no JSON', cause);
  }
}

/** Validates a recipe from anywhere; throws ERR_VMLET_CONFIG naming the field that is wrong. */
export function checkRecipe(value: unknown): Recipe {
  const recipe = record('recipe', value);
  const known = [
    'schema', 'name', 'description', 'arch', 'debianArch', 'suite', 'components', 'kernel', 'packages', 'busybox', 'modules',
    'files', 'cmdline',
  ];
  for (const key of Object.keys(recipe)) if (!known.includes(key)) throw wrong(key, 'it is not a field of recipes');
  if (recipe.schema !== SCHEMA) throw wrong('schema', `it must be ${SCHEMA}`);
  const arch = string('arch', recipe.arch);
  if (arch !== 'i386' && arch !== 'x86_64') throw wrong('arch', 'it must be i386 or x86_64');
  const modules = record('modules', recipe.modules);
  return {
    schema: SCHEMA,
    name: matching('name', recipe.name, /^[a-z0-9][a-z0-9.-]*$/),
    description: string('description', recipe.description),
    arch,
    debianArch: matching('debianArch', recipe.debianArch, /^[a-z0-9-]+$/),
    suite: matching('suite', recipe.suite, /^[a-zA-Z0-9][a-zA-Z0-9/.-]*$/),
    components: strings('components', recipe.components),
    kernel: packageName('kernel', recipe.kernel),
    packages: list('packages', recipe.packages).map((item, i) => recipePackage(`packages[${i}]`, item)),
    ...(recipe.busybox === undefined ? {} : { busybox: imagePath('busybox', recipe.busybox) }),
    modules: { load: strings('modules.load', modules.load), include: strings('modules.include', modules.include) },
    files: list('files', recipe.files).map((item, i) => {
      const file = record(`files[${i}]`, item);
      return {
        path: imagePath(`files[${i}].path`, file.path),
        mode: octal(`files[${i}].mode`, file.mode),
        content: string(`files[${i}].content`, file.content),
      };
    }),
    cmdline: string('cmdline', recipe.cmdline),
  };
}

function recipePackage(field: string, value: unknown): RecipePackage {
  const item = record(field, value);
  const files = list(`${field}.files`, item.files).map((entry, i) => {
    const file = record(`${field}.files[${i}]`, entry);
    return {
      from: strings(`${field}.files[${i}].from`, file.from),
      to: imagePath(`${field}.files[${i}].to`, file.to),
      mode: octal(`${field}.files[${i}].mode`, file.mode),
    };
  });
  return { name: packageName(`${field}.name`, item.name), files };
}

function wrong(field: string, why: string, cause?: unknown): VmletError {
  return new VmletError('ERR_VMLET_CONFIG', `the recipe's ${field} is wrong: ${why}`, { hint: 'See the recipes in the folder images.', cause });
}

function record(field: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(field, 'it must be an object');
  return value as Record<string, unknown>;
}

function list(field: string, value: unknown): unknown[] {
  if (!Array.isArray(value)) throw wrong(field, 'it must be a list');
  return value;
}

function string(field: string, value: unknown): string {
  if (typeof value !== 'string') throw wrong(field, 'it must be a text');
  return value;
}

function strings(field: string, value: unknown): string[] {
  return list(field, value).map((item, i) => string(`${field}[${i}]`, item));
}

function matching(field: string, value: unknown, pattern: RegExp): string {
  const text = string(field, value);
  if (!pattern.test(text)) throw wrong(field, `${JSON.stringify(text)} does not match ${pattern}`);
  return text;
}

/** Also keeps what is handed to apt from being an option. */
function packageName(field: string, value: unknown): string {
  return matching(field, value, /^[a-z0-9][a-z0-9+.-]+$/);
}

function imagePath(field: string, value: unknown): string {
  const path = matching(field, value, /^[^/\0][^\0]*$/);
  if (path.split('/').includes('..')) throw wrong(field, 'it leaves the image');
  return path;
}

function octal(field: string, value: unknown): string {
  return matching(field, value, /^[0-7]{3,4}$/);
}
