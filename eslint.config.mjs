/*
 * What lint enforces beyond formatting: the direction of imports, no `any`, named exports, type
 * imports. Rules that need types run on src only, where a forgotten promise loses bytes.
 */
import tseslint from 'typescript-eslint'
import { layersRule } from './scripts/lib/layers-rule.mjs'

export default tseslint.config(
  { ignores: ['dist/', '**/build/', 'build-asan/', 'build-arm64/', 'coverage/', 'bench/results/'] },
  {
    files: ['**/*.{ts,js,mjs,cjs}'],
    plugins: { uring: { rules: { layers: layersRule } } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'uring/layers': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommended],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'separate-type-imports', disallowTypeAnnotations: false },
      ],
      '@typescript-eslint/parameter-properties': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrorsIgnorePattern: '^_' },
      ],
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Export by name.' },
        { selector: 'TSEnumDeclaration', message: 'Use a union or named constants.' },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
    },
  },
)
