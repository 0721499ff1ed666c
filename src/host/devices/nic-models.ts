/** Network cards that a machine can have. */
export const NIC_MODELS = ['virtio', 'e1000', 'rtl8139'] as const;
export type NicModel = (typeof NIC_MODELS)[number];
