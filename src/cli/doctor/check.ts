/** One line of a diagnosis. */

/** A warning: pgaio works, but not as well as it could. A problem: something that it needs does not work. */
export type CheckStatus = 'ok' | 'warning' | 'problem';

export interface Check {
  readonly name: string;
  readonly status: CheckStatus;
  /** What was found: words without a full stop. */
  readonly summary: string;
  /** What that means, or how it was found out; without a full stop. */
  readonly detail?: string;
  /** What to do: sentences. Every warning and every problem has it. */
  readonly advice?: string;
}

export function ok(name: string, summary: string, detail = ''): Check {
  return { name, status: 'ok', summary, ...(detail !== '' && { detail }) };
}

export function warning(name: string, summary: string, advice: string, detail = ''): Check {
  return { name, status: 'warning', summary, ...(detail !== '' && { detail }), advice };
}

export function problem(name: string, summary: string, advice: string, detail = ''): Check {
  return { ...warning(name, summary, advice, detail), status: 'problem' };
}
