// Which rows of the contract the test files name, from their sources: nothing is run.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { listFiles } from './build.mjs';
import { root } from './command.mjs';
import { idsOfName } from './conformance-rows.mjs';

const anyId = /\b[A-Z]{1,2}-\d{2,3}\b/;

/**
 * Rows by test file (`instance/contract/batches`, as the tables have it), and names that mention a row anywhere but at
 * their beginning, where nobody would find it.
 */
export function scanTests(files = listFiles(['test'], ['.test.ts'])) {
  const claims = new Map();
  const astray = [];
  for (const file of files) {
    const { ids, strays } = scanSource(file, readFileSync(join(root, file), 'utf8'));
    if (ids.size > 0) claims.set(tableName(file), ids);
    astray.push(...strays.map((name) => `${file}: ${name}`));
  }
  return { claims, astray };
}

export function tableName(file) {
  return file.replace(/^test\//, '').replace(/\.test\.[jt]s$/, '');
}

export function scanSource(file, text) {
  const ids = new Set();
  const strays = [];
  const wholeIds = [];
  let namesFromData = false;
  const visit = (node) => {
    // A name's beginning, without what stands behind the colon.
    if (ts.isStringLiteralLike(node) && !node.text.includes(':'))
      wholeIds.push(...idsOfName(`${node.text}: `));
    if (isTestCall(node)) {
      const { text: name, fromData } = nameOf(node.arguments[0]);
      namesFromData ||= fromData;
      const found = idsOfName(name);
      for (const id of found) ids.add(id);
      if (found.length === 0 && anyId.test(name)) strays.push(name);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  // `${row}: …` in a loop: the rows stand in the loop's data.
  if (namesFromData) for (const id of wholeIds) ids.add(id);
  return { ids, strays };
}

function isTestCall(node) {
  if (!ts.isCallExpression(node) || node.arguments.length === 0) return false;
  const callee = ts.isPropertyAccessExpression(node.expression)
    ? node.expression.expression
    : node.expression;
  return ts.isIdentifier(callee) && ['it', 'test', 'describe', 'suite'].includes(callee.text);
}

/** What is known of a name: all of it, or what stands before the first value that is filled in. */
function nameOf(argument) {
  if (ts.isStringLiteralLike(argument)) return { text: argument.text, fromData: false };
  if (!ts.isTemplateExpression(argument)) return { text: '', fromData: false };
  const { head, templateSpans } = argument;
  const rest = templateSpans.map((span) => `?${span.literal.text}`).join('');
  return {
    text: head.text + rest,
    fromData: head.text === '' && templateSpans[0].literal.text.startsWith(': '),
  };
}
