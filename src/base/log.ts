/**
 * Where diagnostics go. Levels are PostgreSQL's, coarsened: `log` is for whoever reads the log and never
 * reaches a caller; `warning` is meant for the person who runs the program.
 */
export type LogLevel = 'debug' | 'log' | 'warning' | 'error';

export interface LogEvent {
  level: LogLevel;
  message: string;
  detail?: string;
  hint?: string;
  /** What kind of event, for programs; those about pages have one. */
  code?: string;
  /** Of a relation, relative to its data directory. */
  path?: string;
  /** The block, or the first of those that the event is about. */
  block?: number;
  /** The range of the I/O. */
  firstBlock?: number;
  lastBlock?: number;
}

export type LogSink = (event: LogEvent) => void;

/** Warnings become process warnings, with their code, and with detail and hint as the detail; the rest is dropped. */
export const defaultLogSink: LogSink = ({ level, message, code, detail, hint }) => {
  if (level !== 'warning') return;
  const more = [detail, hint].filter((line) => line !== undefined).join('\n');
  process.emitWarning(message, {
    type: 'PgaioWarning',
    ...(code !== undefined && { code }),
    ...(more !== '' && { detail: more }),
  });
};
