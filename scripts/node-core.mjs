/*
 * `npm run test:node-core`: setup, then Node's own tests with the arguments given. What it runs on
 * is compiled here, for the package's build leaves tests out.
 */
import { takeNode } from './lib/node-version.mjs'
import { handOver, main, mustRun, step } from './lib/process.mjs'
import { filesBelow, hashOf, isStamped, writeStamp } from './lib/stamp.mjs'
import { setup } from './setup.mjs'

const folder = 'test/node-core'
const stamp = 'dist/test/node-core/.stamp'

await main(async (args) => {
  await setup('build')
  await compile()
  const { node, rest } = await takeNode(args)
  await handOver(['dist/test/node-core/main.js', '--node', node, ...rest])
})

async function compile() {
  const inputs = filesBelow([folder], /(?<!\.test)\.ts$/)
  const hash = hashOf([...inputs, `${folder}/tsconfig.json`, 'bench/table.ts'])
  if (isStamped(stamp, hash)) return
  await step('TypeScript of the test runner', () =>
    mustRun('tsc', process.execPath, ['node_modules/typescript/bin/tsc', '-p', folder]),
  )
  writeStamp(stamp, hash)
}
