/** Whose turn it is among sockets that libuv reads bulk data for. */
import { BulkTurns } from '../../src/adapters/bulk-turns'

const [first, second] = [{}, {}]

/** What each of these reads was answered. */
const reads = (turns: BulkTurns, ...sockets: object[]): boolean[] =>
  sockets.map((socket) => turns.isOver(socket))

test('one that is alone reads on', () => {
  const turns = new BulkTurns()
  turns.add(1)
  expect(reads(turns, first, first, first, first)).toEqual([false, false, false, false])
})

test('with another one, two reads in a row are a turn', () => {
  const turns = new BulkTurns()
  turns.add(1)
  turns.add(1)
  expect(reads(turns, first, first, first, first)).toEqual([false, true, false, true])
  expect(reads(turns, second, first, second, first)).toEqual([false, false, false, false])
  expect(reads(turns, first)).toEqual([true])
})

test('when the others have gone it reads on', () => {
  const turns = new BulkTurns()
  turns.add(1)
  turns.add(1)
  turns.add(-1)
  expect(reads(turns, first, first, first)).toEqual([false, false, false])
})
