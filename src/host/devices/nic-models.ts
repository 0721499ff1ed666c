/** Network cards that a machine can have. */
export const NIC_MODELS = ['virtio'] as const;
export type NicModel = (typeof NIC_MODELS)[number];
