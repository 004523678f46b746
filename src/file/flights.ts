/** What is under way for somebody, who wants to hear when it is over. */
export class Flights {
  #count = 0;
  #idle: (() => void) | null = null;

  begin(): void {
    this.#count++;
  }

  readonly end = (): void => {
    if (--this.#count > 0) return;
    this.#idle?.();
    this.#idle = null;
  };

  /** Resolves when nothing is under way. Of one at a time. */
  async whenOver(): Promise<void> {
    if (this.#count > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }
}
