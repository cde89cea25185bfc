/* `npm start`: setup, then the demo with the arguments given. */
import { handOver, main } from './lib/process.mjs'
import { setup } from './setup.mjs'

await main(async (args) => {
  await setup('start')
  await handOver(['dist/examples/demo/main.js', ...args])
})
