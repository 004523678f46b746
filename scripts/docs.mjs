// `npm run docs`: set-up, then the reference of the library as HTML, made from its docstrings.
import { root, run, say } from './command.mjs';
import { setup } from './setup.mjs';

await setup();
run('reference', process.execPath, ['node_modules/typedoc/bin/typedoc', '--logLevel', 'Warn']);
say(`open ${root}/dist/api/index.html`);
