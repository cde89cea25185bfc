/* `npm run bench`: setup, then the benchmark with the arguments given. */
import { handOver, main } from './lib/process.mjs'
import { setup } from './setup.mjs'

await main(async (args) => {
  await setup('bench')
  await handOver(['dist/bench/main.js', ...args])
})
