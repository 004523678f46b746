import comments from '@eslint-community/eslint-plugin-eslint-comments';
import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

// An exception stands where it is needed, with its reason, and is an error itself once it is needed no more:
//   /* eslint-disable max-lines -- the whole state machine, which reads as one */
const fileLinesMax = 400;
const functionLinesMax = 70;
const lines = (max) => ['error', { max, skipBlankLines: true, skipComments: true }];

const typed = ['src/**/*.ts', 'testing/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts'];

/** `words[index]!` says that the index is in range, which typed arrays cannot; elsewhere `!` only hides a question. */
const nonNullOnlyOnElements = {
  selector: 'TSNonNullExpression:not([expression.type="MemberExpression"][expression.computed=true])',
  message: "'!' is for elements only (`words[index]!`): handle null and undefined, or assert.",
};

const noFocusedTests = {
  selector: 'CallExpression[callee.property.name="only"][callee.object.name=/^(test|it|describe|suite)$/]',
  message: 'A focused test hides all the others.',
};

const noTimedWait = {
  selector: 'CallExpression[callee.object.name="Atomics"][callee.property.name=/^wait/][arguments.length>3]',
  message: 'A test waits for an event: Atomics.wait without a time-out.',
};

/** A test that waits for time fails one day: wait for the event, or inject the clock. */
const waitingInTests = 'A test waits for an event, or injects the clock; it never waits for time.';

export default defineConfig(
  globalIgnores(['dist/', '.cache/']),
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { comments },
    rules: {
      'comments/disable-enable-pair': ['error', { allowWholeFile: true }],
      'comments/no-unlimited-disable': 'error',
      'comments/require-description': ['error', { ignore: ['eslint-enable'] }],
    },
  },
  js.configs.recommended,
  {
    files: ['**/*.{js,mjs}'],
    languageOptions: {
      globals: Object.fromEntries(
        ['Buffer', 'WebAssembly', 'console', 'performance', 'process'].map((name) => [name, 'readonly']),
      ),
    },
  },
  {
    files: typed,
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', name: ['describe', 'it', 'suite', 'test'], package: 'node:test' },
          ],
        },
      ],
      // Replaced by the narrower selector below.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // It believes that what was compared once stays so across calls, and here the state changes under one's eyes.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // An implementation of an asynchronous interface need not wait for anything.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      'default-case-last': 'error',
      eqeqeq: 'error',
      'max-depth': ['error', 4],
      'no-restricted-syntax': ['error', nonNullOnlyOnElements],
    },
  },
  {
    files: ['src/**/*.ts', 'testing/**/*.ts', 'scripts/**/*.mjs'],
    rules: { 'max-lines': lines(fileLinesMax), 'max-lines-per-function': lines(functionLinesMax) },
  },
  {
    // A library prints nothing; what it has to say goes through its log.
    files: ['src/**/*.ts'],
    ignores: ['src/cli/**'],
    rules: { 'no-console': 'error' },
  },
  {
    files: ['test/**/*.ts', 'testing/**/*.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        { name: 'setTimeout', message: waitingInTests },
        { name: 'setInterval', message: waitingInTests },
      ],
      'no-restricted-imports': [
        'error',
        ...['timers', 'timers/promises'].flatMap((name) => [
          { name, message: waitingInTests },
          { name: `node:${name}`, message: waitingInTests },
        ]),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: waitingInTests },
        { object: 'performance', property: 'now', message: waitingInTests },
      ],
      'no-restricted-syntax': ['error', nonNullOnlyOnElements, noFocusedTests, noTimedWait],
    },
  },
  { files: ['**/*.d.ts'], rules: { '@typescript-eslint/no-extraneous-class': 'off' } },
);
