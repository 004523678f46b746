// `npm start`: without arguments the demonstration, with arguments the command-line program.
// The program runs in this process, so that signals, exit code and terminal are its own.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { giveUp, root } from './command.mjs';
import { setup } from './setup.mjs';

// Whoever only wants to use it may have a compiler that nobody has tried.
await setup({ strict: false });
if (process.argv.length > 2) {
  const program = join(root, 'dist/src/cli/main.js');
  if (!existsSync(program)) giveUp('the command-line program is not part of this version');
  process.argv[1] = program;
  await import(pathToFileURL(program).href);
} else {
  const { demonstrate } = await import('./demo.mjs');
  process.exitCode = await demonstrate();
}
