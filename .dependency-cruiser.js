// The layers of src, lowest first: a layer may import the rows above its own, never its own row's neighbour.
const rows = [
  ['base'],
  ['native'],
  ['shmem'],
  ['stats'],
  ['aio'],
  ['vfd'],
  ['smgr', 'wal', 'file'],
  ['buffer'],
  ['read-stream'],
  ['cache'],
  ['recovery'],
  ['instance'],
  ['cli', 'metrics'],
];

/** PostgreSQL's page format knows nothing of I/O, and the layers that move bytes know nothing of pages. */
const pageMayImport = ['base', 'native'];
const mayImportPage = rows.slice(rows.findIndex((row) => row.includes('smgr'))).flat();

/** Where a thread or a process starts: index.ts, cli/main.ts, and the files that are named by URL. */
const entries =
  '^src/(index|cli/main|metrics/(prometheus|opentelemetry)|.*-(entry|main|thread|worker))\\.ts$';

const allLayers = [...rows.flat(), 'page'];
const folders = (names) => `^src/(${names.join('|')})/`;

const downOnly = rows.flatMap((row, index) =>
  row.map((layer) => {
    const allowed = [
      layer,
      ...rows.slice(0, index).flat(),
      ...(mayImportPage.includes(layer) ? ['page'] : []),
    ];
    return {
      name: `layer-${layer}`,
      comment: `src/${layer} may import only ${allowed.join(', ')}`,
      severity: 'error',
      from: { path: folders([layer]) },
      // The command line is a user of the library, so it may come in through the front door.
      to: { path: '^src/', pathNot: [folders(allowed), ...(layer === 'cli' ? ['^src/index\\.ts$'] : [])] },
    };
  }),
);

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    ...downOnly,
    {
      name: 'layer-page',
      comment: `src/page may import only ${pageMayImport.join(', ')}`,
      severity: 'error',
      from: { path: folders(['page']) },
      to: { path: '^src/', pathNot: folders([...pageMayImport, 'page']) },
    },
    {
      name: 'public-entry',
      comment: 'src/index.ts exports the library, not the command line',
      severity: 'error',
      from: { path: '^src/index\\.ts$' },
      to: { path: folders(['cli']) },
    },
    {
      name: 'unknown-layer',
      comment: 'every folder of src is a layer of .dependency-cruiser.js, and only index.ts is in none',
      severity: 'error',
      from: { path: '^src/', pathNot: [folders(allLayers), '^src/index\\.ts$'] },
      to: {},
    },
    {
      name: 'source-stands-alone',
      comment: 'nothing in src imports testing, test, bench or examples',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(testing|test|bench|examples|scripts)/' },
    },
    {
      name: 'no-development-packages',
      comment: 'what src imports must be installed with the package',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'packages-in-cli-only',
      comment: 'the library itself depends on Node alone; the command line may use packages',
      severity: 'error',
      from: { path: '^src/', pathNot: folders(['cli']) },
      to: { dependencyTypes: ['npm'] },
    },
    {
      name: 'no-cycles',
      comment: 'imports of types count too',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-dead-files',
      comment: 'every module of src serves an entry, or at least a test',
      severity: 'error',
      from: { path: [entries, '^test/'] },
      to: { path: '^src/', pathNot: ['\\.d\\.ts$', entries], reachable: false },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|\\.cache)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
