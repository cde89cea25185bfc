'use strict'

/*
 * How Jest finds and compiles the tests. ts-jest only transpiles (types are checked by `npm run
 * lint`), so that a test run starts quickly; `using` declarations are lowered to es2022.
 */

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  testTimeout: 120_000,
  // Two cores are kept busy by three files: tests wait, too.
  maxWorkers: 3,
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
  transform: {
    '^.+\\.ts$': ['ts-jest', { tsconfig: '<rootDir>/tsconfig.json', diagnostics: false }],
  },
}
