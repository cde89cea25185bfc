/*
 * `npm run prebuilds`: the addons that the package brings, for x64 and arm64, made on x64 with
 * Debian's compilers and checked. (A script called "prebuild" would be run by npm before each
 * "build".) The one for x64 is what `npm run build` makes, without its symbol table.
 */
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { problemsOf, unknownToMusl, whyNoGlibc } from './lib/addon-check.mjs'
import { arm64, ensureLiburing } from './lib/arm64.mjs'
import { addonOf, buildAddon, builds, isBuilt } from './lib/native.mjs'
import {
  architectures,
  prebuiltOf,
  sizeOf,
  stampPrebuilt,
  whyNotPrebuilt,
} from './lib/prebuilt.mjs'
import { main, mustRun, root, say, SetupError, step } from './lib/process.mjs'
import { setup } from './setup.mjs'

export async function makePrebuilts() {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new SetupError('the prebuilt addons are made on Linux x64')
  }
  await setup('prebuilds')
  if (whyNotPrebuilt() !== undefined) await make()
  for (const arch of architectures) await check(arch)
}

async function make() {
  await ensureLiburing()
  if (!isBuilt(arm64)) await step('native addon for arm64', () => buildAddon(arm64))
  await strip('strip', builds.plain, 'x64')
  await strip('aarch64-linux-gnu-strip', arm64, 'arm64')
  stampPrebuilt()
}

async function strip(command, build, arch) {
  const output = join(root, prebuiltOf(arch))
  mkdirSync(dirname(output), { recursive: true })
  await mustRun(command, command, ['--strip-unneeded', '-o', output, addonOf(build)])
}

async function check(arch) {
  const without = whyNoGlibc(arch)
  if (without !== undefined) throw new SetupError(`cannot be checked: ${without}`)
  const path = join(root, prebuiltOf(arch))
  const problems = problemsOf(path, arch)
  if (arch === 'x64') {
    for (const name of unknownToMusl(path) ?? []) problems.push(`${name}: musl does not have it`)
  }
  if (problems.length > 0) throw new SetupError(`${path}:\n  ${problems.join('\n  ')}`)
  say(`${prebuiltOf(arch)}: ${sizeOf(arch)} bytes, as it has to be`)
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main(makePrebuilts)
