/*
 * `npm run test:asan`: builds the addon with AddressSanitizer and UBSan beside the plain one, runs
 * the native and end-to-end tests, and those of UDP handles, on it, and fails on any report of any
 * process, children included.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { addonOf, buildAddon, builds, isBuilt } from './lib/native.mjs'
import { capture, main, mustRun, root, runNode, SetupError, step } from './lib/process.mjs'
import { setup } from './setup.mjs'

const reports = join(root, 'build-asan', 'reports')
const shimSource = 'scripts/lib/sanitizer_log.c'

await main(async (args) => {
  if (process.platform !== 'linux') throw new SetupError('the sanitizer build needs Linux')
  await setup('asan')
  if (!isBuilt(builds.sanitized)) {
    await step('native addon with sanitizers', () => buildAddon(builds.sanitized))
  }
  mkdirSync(reports, { recursive: true })
  const env = await sanitizedEnv()
  await step('canaries', () => expectReports(env))
  const jest = ['--expose-gc', 'node_modules/jest/bin/jest.js']
  const paths = args.some((arg) => !arg.startsWith('-'))
    ? []
    : ['test/native', 'test/e2e', 'test/register/dgram']
  const code = await runNode([...jest, ...args, ...paths], { env })
  const found = takeReports()
  for (const report of found) console.error(report)
  console.error(`sanitizers: ${found.length} report${found.length === 1 ? '' : 's'}`)
  process.exitCode = code === 0 && found.length > 0 ? 1 : code
})

async function sanitizedEnv() {
  // node itself is not sanitized, so the runtime has to be there before the addon is.
  const runtime = await mustRun('g++', 'g++', ['-print-file-name=libasan.so'])
  const shim = join(root, 'build-asan', 'sanitizer_log.so')
  await mustRun('g++', 'g++', ['-x', 'c', '-shared', '-fPIC', '-o', shim, shimSource, '-ldl'])
  // Files, not stderr: a test may capture or drop the stderr of a child process that reports.
  const log = join(reports, 'report')
  return {
    ...process.env,
    LD_PRELOAD: `${runtime.trim()}:${shim}`,
    // Leaks: V8 never frees its heap at exit, and the tests count descriptors and memory
    // themselves. Tests that start programs which cannot live with the preload look at the flag.
    ASAN_OPTIONS: `detect_leaks=0:halt_on_error=1:quarantine_size_mb=64:log_path=${log}`,
    UBSAN_OPTIONS: `print_stacktrace=1:halt_on_error=1:log_path=${log}`,
    URING_NET_SANITIZER_LOG: log,
    URING_NET_ADDON: addonOf(builds.sanitized),
    URING_NET_SANITIZED: '1',
  }
}

/** A run that cannot report proves nothing: one mistake of each kind has to leave its report. */
async function expectReports(env) {
  const canary = join(root, 'build-asan', 'sanitizer_canary.so')
  const flags = ['-fsanitize=address,undefined', '-x', 'c', '-shared', '-fPIC', '-o', canary]
  await mustRun('g++', 'g++', [...flags, 'scripts/lib/sanitizer_canary.c'])
  takeReports()
  const load = ['-e', 'process.dlopen({ exports: {} }, process.argv[1])', canary]
  const kinds = { asan: /heap-use-after-free/, ubsan: /shift exponent/ }
  for (const [kind, expected] of Object.entries(kinds)) {
    await capture(process.execPath, load, { env: { ...env, URING_NET_CANARY: kind } })
    const found = takeReports()
    if (found.length === 1 && expected.test(found[0])) continue
    throw new SetupError(`the ${kind} canary left no report: this run could not fail`)
  }
}

/** The reports written since the last call, one for each process that made a mistake. */
function takeReports() {
  const paths = readdirSync(reports).map((name) => join(reports, name))
  const found = paths.map((path) => readFileSync(path, 'utf8'))
  for (const path of paths) rmSync(path)
  return found
}
