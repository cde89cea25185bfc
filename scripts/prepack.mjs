/*
 * Before `npm pack` and `npm publish`: compiles what is not up to date, the prebuilt addons too, and
 * checks them.
 */
import { makePrebuilts } from './prebuilds.mjs'
import { main } from './lib/process.mjs'

await main(makePrebuilts)
