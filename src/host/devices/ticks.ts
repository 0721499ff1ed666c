const SECOND_NS = 1_000_000_000;

/** How many whole periods of `hz` fit into `ns`; exact, also for negative times, for `hz` up to 8 MHz. */
export const ticksAt = (ns: number, hz: number): number => {
  const seconds = Math.floor(ns / SECOND_NS);
  return seconds * hz + Math.floor(((ns - seconds * SECOND_NS) * hz) / SECOND_NS);
};

/** The first nanosecond at which `ticksAt` gives `tick`. */
export const nsOfTick = (tick: number, hz: number): number => {
  const seconds = Math.floor(tick / hz);
  return seconds * SECOND_NS + Math.ceil(((tick - seconds * hz) * SECOND_NS) / hz);
};

/** What a read of an ISA register takes. */
export const ISA_CYCLE_NS = 1000;
