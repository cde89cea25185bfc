/*
 * The addons that the package brings, native/prebuilds/linux-*: where they lie, and whether they
 * are of the sources that are here now. The stamp is over both, so a file that was put there by
 * hand counts as stale, too.
 */
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { addonSources } from './native.mjs'
import { root } from './process.mjs'
import { hashOf, isStamped, writeStamp } from './stamp.mjs'

export const architectures = ['x64', 'arm64']
const stamp = 'native/prebuilds/.stamp'

/** Relative to the repository. */
export function prebuiltOf(arch) {
  return `native/prebuilds/linux-${arch}/uring_net.node`
}

/** Why they cannot be published; undefined when they can. */
export function whyNotPrebuilt() {
  const missing = architectures.map(prebuiltOf).filter((path) => !existsSync(join(root, path)))
  if (missing.length > 0) return `${missing.join(' and ')} missing`
  return isStamped(stamp, hash()) ? undefined : 'native/prebuilds is not of these sources'
}

export function stampPrebuilt() {
  writeStamp(stamp, hash())
}

export function sizeOf(arch) {
  return statSync(join(root, prebuiltOf(arch))).size
}

function hash() {
  return hashOf([...addonSources(), ...architectures.map(prebuiltOf)])
}
