export { appendCpio, BASE_PATHS } from './base-files.js';
export { Cache, cacheFolder } from './cache.js';
export { decompress, detectCompression, type Compression } from './codec/decompress.js';
export { cpioDevice, cpioDirectory, cpioFile, cpioSymlink, isCpio, readCpio, writeCpio, type CpioEntry } from './cpio.js';
export { loadInitrd, unpackInitrd, type LoadedInitrd } from './initrd.js';
export { elfArch, isBzImage, readBzImage, unpackKernel, type BzImageInfo, type GuestArch, type UnpackedKernel } from './kernel.js';
export { checkRecipe, loadRecipe, recipeNames, type Recipe } from './recipe.js';
export {
  loadKernel, resolveImage, resolveRecipe, unpackKernelCached,
  type GuestImage, type ImageManifest, type LoadedKernel, type ResolveOptions,
} from './resolve.js';
