/*
 * Of `npm run lint`: packs the package as it is and has publint and "Are the types wrong?" look at
 * it. Packed without its scripts, which ask for the prebuilt addons: those are no matter of lint.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { npmCli } from './native.mjs'
import { main, mustRun, root } from './process.mjs'

await main(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'uring-net-lint-'))
  try {
    const pack = ['pack', '--ignore-scripts', '--loglevel=error', '--pack-destination', folder]
    await mustRun('npm pack', process.execPath, [await npmCli(), ...pack])
    const tarball = join(folder, readdirSync(folder)[0])
    const run = (name, path, ...args) =>
      mustRun(name, process.execPath, [join(root, 'node_modules', path), tarball, ...args])
    await run('publint', 'publint/src/cli.js')
    // node16: the way that Node 10 resolved modules knows no subpaths, and no Node that runs this uses it.
    // The default export of CommonJS is the module itself (src/index.ts), so it is the same for whoever
    // takes module.exports and for whoever takes its `default`.
    const ignored = ['--profile', 'node16', '--ignore-rules', 'cjs-only-exports-default']
    await run('attw', '@arethetypeswrong/cli/dist/index.js', ...ignored)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
