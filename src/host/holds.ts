/** Counts who wants something to stay as it is. */
export class Holds {
  #count = 0;

  /** `onRelease` is called behind each release. */
  constructor(readonly onRelease: () => void) {}

  get any(): boolean {
    return this.#count > 0;
  }

  /** Returns the release, which counts once. */
  take(): () => void {
    this.#count++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#count--;
      this.onRelease();
    };
  }
}
