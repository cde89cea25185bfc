/*
 * Before `npm pack` and `npm publish`: compiles what is not up to date, and refuses to go on without
 * the prebuilt addons of these sources. It does not make them: that takes another compiler.
 */
import { whyNotPrebuilt } from './lib/prebuilt.mjs'
import { main, SetupError } from './lib/process.mjs'
import { setup } from './setup.mjs'

await main(async () => {
  await setup('build')
  const reason = whyNotPrebuilt()
  if (reason !== undefined) throw new SetupError(`${reason}; run: npm run prebuilds`)
})
