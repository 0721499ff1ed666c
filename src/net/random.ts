/** Numbers from the run's seed; `Prng` of the entropy backend is one. */
export interface Random {
  /** The next 32 bits. */
  u32(): number;
  /** From 0 up to but not including 1. */
  float(): number;
}

/** Gives every consumer its own stream, by name, so that one more consumer does not change the numbers of the others. */
export type RandomSource = (stream: string) => Random;
