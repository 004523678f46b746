// `npm run bench -- ARGUMENTS`: set-up, then the benchmarks in this process.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { giveUp, root } from './command.mjs';
import { setup } from './setup.mjs';

await setup();
const program = join(root, 'dist/bench/main.js');
if (!existsSync(program)) giveUp('there are no benchmarks in this version');
process.argv[1] = program;
await import(pathToFileURL(program).href);
