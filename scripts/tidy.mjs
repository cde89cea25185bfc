/*
 * `npm run tidy`: writes compile_commands.json, and looks at the addon with clang-tidy (.clang-tidy).
 * Two files at a time; the exit code is 1 when it has found something.
 */
import os from 'node:os'
import { addonSources, writeCompileCommands } from './lib/native.mjs'
import { capture, main, step } from './lib/process.mjs'
import { setup } from './setup.mjs'

await main(async () => {
  await setup('tidy')
  await step('compile_commands.json', writeCompileCommands)
  const files = addonSources().filter((file) => file.endsWith('.cc'))
  const workers = os.availableParallelism()
  const results = await Promise.all(Array.from({ length: workers }, () => look(files)))
  process.exitCode = results.every(Boolean) ? 0 : 1
})

/** Takes files until none is left; false when something was found. */
async function look(files) {
  let isClean = true
  for (let file = files.shift(); file !== undefined; file = files.shift()) {
    const { code, output } = await capture('clang-tidy', ['--quiet', '-p', '.', file])
    console.log(`${file.padEnd(30)} ${code === 0 ? 'ok' : 'FAILED'}`)
    if (code !== 0) console.log(output.trimEnd())
    isClean &&= code === 0
  }
  return isClean
}
