/** The style is a test too: each of its rules must fire on a sample that breaks it. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { cruise, type IConfiguration, type ICruiseResult } from 'dependency-cruiser';
import { ESLint } from 'eslint';
import { configs } from 'typescript-eslint';

const root = fileURLToPath(new URL('../../', import.meta.url));

const manyLines = (count: number): string => 'void 0;\n'.repeat(count);

const badSamples: [rule: string, file: string, text: string][] = [
  ['no-restricted-globals', 'test/x.test.ts', 'setTimeout(() => undefined, 1);'],
  ['no-restricted-imports', 'test/x.test.ts', "import 'node:timers/promises';"],
  ['no-restricted-properties', 'test/x.test.ts', 'Date.now();'],
  ['no-restricted-globals', 'testing/x.ts', 'setTimeout(() => undefined, 1);'],
  ['no-restricted-syntax', 'testing/x.ts', 'Atomics.wait(words, 0, 0, 50);'],
  ['no-restricted-syntax', 'test/x.test.ts', "test.only('x', () => undefined);"],
  ['no-restricted-syntax', 'src/aio/x.ts', 'export const x = (y: string | null): string => y!;'],
  ['no-console', 'src/aio/x.ts', 'console.log(1);'],
  ['max-lines', 'src/aio/x.ts', manyLines(401)],
  ['max-lines-per-function', 'src/aio/x.ts', `export function x(): void {\n${manyLines(70)}}`],
  ['comments/require-description', 'src/aio/x.ts', '/* eslint-disable no-console */\nconsole.log(1);'],
];

// Rules that need types are left out: they would need the sample to be part of the project.
const eslint = new ESLint({ cwd: root, overrideConfig: [configs.disableTypeChecked] });

async function brokenRules(file: string, text: string): Promise<(string | null)[]> {
  const [result] = await eslint.lintText(text, { filePath: join(root, file) });
  assert.ok(result);
  return result.messages.map((message) => message.ruleId);
}

for (const [rule, file, text] of badSamples) {
  test(`${rule} fires in ${dirname(file)}: ${text.split('\n', 1).join('')}`, async () => {
    const broken = await brokenRules(file, text);
    assert.ok(broken.includes(rule), `only ${broken.join(', ')}`);
  });
}

test('code within the limits passes', async () => {
  const text = 'export const first = (words: Int32Array): number => words[0]!;\n';
  assert.deepEqual(await brokenRules('src/aio/x.ts', text + manyLines(399)), []);
});

/** Who may use a timer in tests. None of them waits for something that it could be told of. */
const timers: Record<string, string> = {
  'testing/injection.ts': 'keeps the loop alive while a word is watched',
  'testing/storm-thread.ts': 'survivors leave the processor to those who come and go',
  'testing/storm.ts': 'the moment of a death is drawn; survivors rest',
};

test('nobody else in the tests waits for time', () => {
  const found = ['test', 'testing'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => `${folder}/${name}`)
      .filter((name) => name.endsWith('.ts') && name !== 'test/style.test.ts')
      .filter((name) => /eslint-disable[^\n]*no-restricted-(globals|imports|properties)/.test(textOf(name))),
  );
  assert.deepEqual(found.sort(), Object.keys(timers).sort());
});

const textOf = (name: string): string => readFileSync(join(root, name), 'utf8');

/** The names of the import rules that a tree of files breaks. */
async function brokenImportRules(files: Record<string, string>): Promise<string[]> {
  const tree = mkdtempSync(join(tmpdir(), 'pgaio-style-'));
  try {
    for (const [file, text] of Object.entries({ 'package.json': '{}', ...files })) {
      mkdirSync(join(tree, dirname(file)), { recursive: true });
      writeFileSync(join(tree, file), text);
    }
    const module: unknown = await import(pathToFileURL(join(root, '.dependency-cruiser.js')).href);
    const { forbidden = [], options } = (module as { default: IConfiguration }).default;
    const result = await cruise(['src'], {
      baseDir: tree,
      ruleSet: { forbidden },
      validate: true,
      tsPreCompilationDeps: options?.tsPreCompilationDeps ?? false,
    });
    const { summary } = result.output as ICruiseResult;
    return [...new Set(summary.violations.map((violation) => violation.rule.name))].sort();
  } finally {
    rmSync(tree, { recursive: true });
  }
}

test('imports that point down pass', async () => {
  const files = {
    'src/index.ts': "export * from './smgr/a.js';",
    'src/smgr/a.ts': "import '../page/b.js';\nexport const a = 1;",
    'src/page/b.ts': "import '../base/c.js';",
    'src/base/c.ts': 'export type C = number;',
  };
  assert.deepEqual(await brokenImportRules(files), []);
});

test('imports that point up or aside, cycles and dead files fail', async () => {
  const files = {
    'src/index.ts': "export * from './aio/a.js';",
    'src/aio/a.ts': "import type { B } from '../page/b.js';\nexport type A = B;",
    'src/page/b.ts': "import type { A } from '../aio/a.js';\nexport type B = A;",
    'src/aio/dead.ts': 'export const dead = 1;',
    'src/base/c.ts': "import '../../testing/d.js';\nimport './missing.js';",
    'src/oddity/e.ts': "import '../base/c.js';",
    'testing/d.ts': 'export const d = 1;',
  };
  assert.deepEqual(await brokenImportRules(files), [
    'layer-aio',
    'layer-page',
    'no-cycles',
    'no-dead-files',
    'resolvable',
    'source-stands-alone',
    'unknown-layer',
  ]);
});
