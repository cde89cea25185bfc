/* `npm run bench`: setup, then the benchmark with the arguments given. */
import { takeNode } from './lib/node-version.mjs'
import { handOver, main } from './lib/process.mjs'
import { setup } from './setup.mjs'

await main(async (args) => {
  await setup('bench')
  const { node, rest } = await takeNode(args)
  const servers = node === process.execPath ? [] : ['--node', node]
  await handOver(['dist/bench/main.js', ...rest, ...servers])
})
