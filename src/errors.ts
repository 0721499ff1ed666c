/** Codes of every error that vmlet throws at its user; the part after ERR_VMLET_ is stable. */
export type VmletErrorCode =
  | 'ERR_VMLET_CONFIG'
  | 'ERR_VMLET_IMAGE_NOT_FOUND'
  | 'ERR_VMLET_IMAGE_FORMAT'
  | 'ERR_VMLET_IMAGE_ARCH'
  | 'ERR_VMLET_MEMORY'
  | 'ERR_VMLET_DISK'
  | 'ERR_VMLET_FETCH'
  | 'ERR_VMLET_CACHE'
  | 'ERR_VMLET_CORE'
  | 'ERR_VMLET_GUEST'
  | 'ERR_VMLET_TIMEOUT'
  | 'ERR_VMLET_EXPECT'
  | 'ERR_VMLET_COMMAND'
  | 'ERR_VMLET_ABORTED'
  | 'ERR_VMLET_STATE';

/** A host error: what went wrong, why, and in `hint` what to do about it. */
export class VmletError extends Error {
  override readonly name: string = 'VmletError';
  readonly code: VmletErrorCode;
  readonly hint: string | undefined;

  constructor(code: VmletErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}
