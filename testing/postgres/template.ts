/** What initdb makes, once for the same arguments: copying it is ten times as fast. */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { giveToPostgres } from './account.js';
import type { PostgresBinaries } from './binaries.js';
import { cacheDirectory } from './cache.js';
import { endWithProcess } from './process-end.js';
import { runAsPostgres } from './run.js';

/** Fills an empty data directory as initdb would, but for the system's identifier, which all copies share. */
export async function initializeFromTemplate(
  directory: string,
  binaries: PostgresBinaries,
  initdbArguments: readonly string[],
): Promise<void> {
  const template = templateFor(binaries, initdbArguments);
  if (!existsSync(template)) await makeTemplate(template, binaries, initdbArguments);
  await runAsPostgres('cp', ['-a', `${template}/.`, directory]);
}

function templateFor({ bin, majorVersion }: PostgresBinaries, initdbArguments: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify([bin, initdbArguments]));
  return join(cacheDirectory(), `initdb-${majorVersion}-${hash.digest('hex').slice(0, 12)}`);
}

/** Several processes may come here at once: each makes its own, and the first rename makes it everybody's. */
async function makeTemplate(
  template: string,
  { bin }: PostgresBinaries,
  initdbArguments: readonly string[],
): Promise<void> {
  const draft = mkdtempSync(`${template}.`);
  const remove = (): void => {
    rmSync(draft, { recursive: true, force: true });
  };
  const forget = endWithProcess(remove);
  try {
    giveToPostgres(draft);
    await runAsPostgres(join(bin, 'initdb'), [`--pgdata=${draft}`, ...initdbArguments]);
    renameSync(draft, template);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  } finally {
    forget();
    remove();
  }
}
