import { VmletError } from '../../errors.js';

/** A copy of a device's state, for `save`. */
export const clone = <T>(state: T): T => structuredClone(state);

/**
 * A copy of `state`, checked against the shape of `template` (the device's initial state): the same keys, types and typed-array
 * lengths, numbers that are not NaN. Plain arrays may have any length; their items are checked against the template's first item,
 * when it has one. Throws ERR_VMLET_STATE.
 */
export const validated = <T>(device: string, template: T, state: unknown): T => {
  check(device, '', template, state);
  return structuredClone(state) as T;
};

const check = (device: string, path: string, template: unknown, value: unknown): void => {
  const fail = (): never => {
    throw new VmletError('ERR_VMLET_STATE', `the saved state of '${device}' is damaged at '${path === '' ? '.' : path}'`, {
      hint: 'take a new snapshot with this version of vmlet',
    });
  };
  if (typeof template !== typeof value || (template === null) !== (value === null)) fail();
  if (typeof value === 'number' && Number.isNaN(value)) fail();
  if (typeof template !== 'object' || template === null || typeof value !== 'object' || value === null) return;
  if (ArrayBuffer.isView(template)) {
    if (!ArrayBuffer.isView(value) || value.constructor !== template.constructor || value.byteLength !== template.byteLength) fail();
    return;
  }
  if (Array.isArray(template)) {
    if (!Array.isArray(value)) return fail();
    if (template.length === 0) {
      if (value.some(item => typeof item !== 'number' || Number.isNaN(item))) fail();
    } else value.forEach((item, index) => check(device, `${path}[${index}]`, template[Math.min(index, template.length - 1)], item));
    return;
  }
  for (const key of Object.keys(template)) {
    check(device, path === '' ? key : `${path}.${key}`, (template as Record<string, unknown>)[key], (value as Record<string, unknown>)[key]);
  }
};
