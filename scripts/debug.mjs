/*
 * `npm run build:debug`: the addon for a debugger, beside the one that the package loads, and how to
 * load it.
 */
import { addonOf, buildAddon, builds, isBuilt } from './lib/native.mjs'
import { main, step } from './lib/process.mjs'
import { setup } from './setup.mjs'

await main(async () => {
  await setup('debug')
  if (!isBuilt(builds.debug)) await step('debug addon', () => buildAddon(builds.debug))
  console.log(`URING_NET_ADDON=${addonOf(builds.debug)} gdb --args node program.js`)
})
