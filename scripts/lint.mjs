/*
 * `npm run lint` and, with --fix, `npm run format`: Prettier, ESLint, clang-format, the types of
 * everything, tests included, the package as it is published, and docs/reference.md. All of them run
 * even if one fails.
 */
import { capture, main } from './lib/process.mjs'
import { filesBelow, filesIn } from './lib/stamp.mjs'
import { setup } from './setup.mjs'

await main(async (args) => {
  await setup('lint')
  const checks = args.includes('--fix') ? fixes() : lints()
  const results = await Promise.all(checks.map(check))
  process.exitCode = results.every(Boolean) ? 0 : 1
})

function lints() {
  return [
    ['prettier', 'node', 'node_modules/prettier/bin/prettier.cjs', '--check', '.'],
    ['eslint', 'node', 'node_modules/eslint/bin/eslint.js', '--max-warnings=0', '.'],
    ['clang-format', 'clang-format', '--dry-run', '-Werror', ...cFiles()],
    ['types', 'node', 'node_modules/typescript/bin/tsc', '--noEmit', '-p', 'tsconfig.json'],
    ['package', 'node', 'scripts/lib/package-lint.mjs'],
    ['reference', 'node', 'scripts/reference.mjs', '--check'],
  ]
}

function fixes() {
  return [
    ['prettier', 'node', 'node_modules/prettier/bin/prettier.cjs', '--write', '.'],
    ['reference', 'node', 'scripts/reference.mjs'],
    ['clang-format', 'clang-format', '-i', ...cFiles()],
  ]
}

function cFiles() {
  return [
    ...filesIn('native', /\.(cc|h)$/),
    ...filesBelow(['bench', 'test', 'scripts'], /\.(c|cc|h)$/),
  ]
}

async function check([name, command, ...args]) {
  if (name === 'clang-format' && cFiles().length === 0) return true
  const start = performance.now()
  const { code, output } = await capture(command === 'node' ? process.execPath : command, args)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`${name.padEnd(13)} ${code === 0 ? 'ok' : 'FAILED'}  ${seconds} s`)
  if (code !== 0) printHead(output.trimEnd().split('\n'))
  return code === 0
}

/** One badly formatted file makes clang-format complain about every line of it. */
function printHead(lines) {
  const shown = 80
  console.log(lines.slice(0, shown).join('\n'))
  if (lines.length > shown) console.log(`... and ${lines.length - shown} more lines`)
}
