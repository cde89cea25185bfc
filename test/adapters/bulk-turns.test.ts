/** Whose turn it is among sockets that libuv reads bulk data for. */
import { BulkTurns } from '../../src/adapters/bulk-turns'

const [first, second] = [{}, {}]

/** What each of these full reads was answered. */
const reads = (turns: BulkTurns, ...sockets: object[]): boolean[] =>
  sockets.map((socket) => turns.isOver(socket))

const times = (count: number, socket: object): object[] =>
  Array.from({ length: count }, () => socket)

test('one that is alone reads on', () => {
  expect(reads(new BulkTurns(), ...times(100, first))).not.toContain(true)
})

test('with another one, two reads in a row are a turn', () => {
  const turns = new BulkTurns()
  reads(turns, first)
  expect(reads(turns, ...times(4, second))).toEqual([false, true, false, true])
  expect(reads(turns, first, second, first, second)).toEqual([false, false, false, false])
  expect(reads(turns, second)).toEqual([true])
})

test('when the others have stopped it reads on', () => {
  const turns = new BulkTurns()
  reads(turns, first)
  expect(reads(turns, ...times(64, second))).toContain(true)
  expect(reads(turns, ...times(64, second))).not.toContain(true)
})

test('a socket that reads no more is not another one', () => {
  const turns = new BulkTurns()
  reads(turns, first)
  turns.forget(first)
  expect(reads(turns, ...times(4, second))).not.toContain(true)
})
