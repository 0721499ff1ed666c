import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cachedImages } from '../../src/cli/commands/image.js';

const images = await cachedImages();
const core = existsSync(fileURLToPath(new URL('../../dist/core.wasm', import.meta.url)));

/** Whether a test can boot this guest without the network: the core is built and the image is in the cache (vmlet image pull). */
export const canBoot = (name: string): boolean => core && images.some(({ recipe }) => recipe === name);
