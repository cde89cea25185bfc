/*
 * `npm test`: setup, then Jest with the arguments given, on the Node that runs this or on the one of
 * `--node`. Socket tests run on both drivers by themselves; URING_NET_DRIVER=uring or =epoll limits
 * them to one.
 */
import { takeNode } from './lib/node-version.mjs'
import { handOver, main } from './lib/process.mjs'
import { setup } from './setup.mjs'

await main(async (args) => {
  await setup('test')
  const { node, rest } = await takeNode(args)
  // --expose-gc: lifetime tests collect garbage on purpose.
  await handOver(['--expose-gc', 'node_modules/jest/bin/jest.js', ...rest], { node })
})
