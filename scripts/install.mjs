/*
 * The package's install script: builds the addon where it can be built. A machine that cannot is
 * told so in one line and gets node:net passed through; an installation never fails because of it.
 */
import { addonOf, buildAddon, builds, isBuilt } from './lib/native.mjs'
import { buildPackages, missingOf } from './lib/system.mjs'

if (process.env.URING_NET_SKIP_BUILD !== '1') {
  const reason = await whyNotBuilt()
  if (reason) console.log(`uring-net: no native driver, node:net is passed through: ${reason}`)
}

async function whyNotBuilt() {
  if (process.platform !== 'linux') return `${process.platform} has neither io_uring nor epoll`
  if (isBuilt(builds.plain)) return undefined
  const missing = missingOf(buildPackages)
  if (missing.length > 0) return `missing on this machine: ${missing.join(', ')} (Debian's names)`
  try {
    await buildAddon(builds.plain)
    console.log(`uring-net: built ${addonOf(builds.plain)}`)
    return undefined
  } catch (error) {
    return error.message
  }
}
