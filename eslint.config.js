import tseslint from 'typescript-eslint';

// Imports point downwards (docs/architecture.md): cli and testing know the API, the API knows host, net, pxe and image, those know each other
// only as listed here, and nobody but a backend, an image or a door touches Node.
const layer = (files, forbidden) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns: forbidden.map(([group, message]) => ({ group, message })) }] },
});
const NODE = [['node:*', 'undici', 'commander'], 'only backends, src/image, the public API and the command line touch Node'];
const API = [['**/vm.js', '**/lab.js', '**/index.js', '**/cli/**'], 'imports point downwards'];
const wallClock = [
  { object: 'Date', property: 'now', message: 'time is virtual: use the Clock' },
  { object: 'performance', property: 'now', message: 'time is virtual: use the Clock' },
  { object: 'Math', property: 'random', message: 'entropy comes from the seed of the run' },
];
const timers = ['setTimeout', 'setInterval', 'setImmediate', 'process', 'Buffer'].map(name => ({ name, message: 'a device sees a virtual clock and a backend, never Node' }));

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'assembly/', 'node_modules/', 'guest/'] },
  ...tseslint.configs.recommended,
  {
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': 'error',
      'no-constant-condition': ['error', { checkLoops: false }],
      eqeqeq: 'error',
      'prefer-const': 'error',
    },
  },
  {
    files: ['src/host/**/*.ts', 'src/net/**/*.ts', 'src/pxe/**/*.ts'],
    ignores: ['src/host/backends/**'],
    rules: { 'no-restricted-properties': ['error', ...wallClock], 'no-restricted-globals': ['error', ...timers] },
  },
  layer(['src/host/devices/**/*.ts'], [NODE, API, [['**/machine.js', '**/core.js', '**/board/**', '**/image/**'], 'a device knows neither the machine nor the core']]),
  layer(['src/host/*.ts', 'src/host/board/**/*.ts', 'src/host/boot/**/*.ts', 'src/host/firmware/**/*.ts'], [NODE, API]),
  layer(['src/host/backends/**/*.ts'], [API, [['**/devices/**', '**/machine.js', '**/core.js'], 'a backend knows no device']]),
  layer(['src/net/**/*.ts'], [NODE, API, [['**/machine.js', '**/core.js', '**/image/**', '**/devices/**'], 'the wire knows no machine']]),
  layer(['src/pxe/**/*.ts'], [API, [['**/machine.js', '**/core.js', '**/image/**', '**/devices/**'], 'the services know no machine']]),
  layer(['src/image/**/*.ts'], [API, [['**/host/**'], 'images know nothing of the machine']]),
  { files: ['tools/**', 'tests/bench/**'], rules: { '@typescript-eslint/no-unused-vars': 'off' } },
);
