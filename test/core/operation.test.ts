/** Every transition of an operation, legal and illegal. */
import { Operation } from '../../src/core/operation'
import type { OperationState } from '../../src/core/operation'

function inState(state: OperationState): Operation {
  const operation = new Operation()
  if (state !== 'idle') operation.submit()
  if (state === 'cancelling') operation.cancel()
  expect(operation.state).toBe(state)
  return operation
}

describe('operation', () => {
  test('a new operation is idle', () => {
    expect(new Operation().state).toBe('idle')
    expect(new Operation().isIdle).toBe(true)
  })

  test('submit puts an idle operation in flight', () => {
    const operation = inState('idle')
    operation.submit()
    expect(operation.state).toBe('inFlight')
    expect(operation.isIdle).toBe(false)
  })

  test.each(['inFlight', 'cancelling'] as const)(
    'submit throws in state %s and changes nothing, or two of a kind would be in flight',
    (state) => {
      const operation = inState(state)
      expect(() => operation.submit()).toThrow(/broken invariant: submit in state/)
      expect(operation.state).toBe(state)
    },
  )

  test('a last completion ends it, and it may be submitted again', () => {
    const operation = inState('inFlight')
    expect(operation.complete(false)).toBe(true)
    expect(operation.isIdle).toBe(true)
    operation.submit()
    expect(operation.state).toBe('inFlight')
  })

  test('a completion with more leaves it in flight', () => {
    const operation = inState('inFlight')
    expect(operation.complete(true)).toBe(true)
    expect(operation.state).toBe('inFlight')
  })

  test('cancel is a request: the operation stays in flight until its last completion (C1)', () => {
    const operation = inState('inFlight')
    expect(operation.cancel()).toBe(true)
    expect(operation.state).toBe('cancelling')
    expect(operation.isIdle).toBe(false)
  })

  test('a second cancel answers false, or the command would be sent twice', () => {
    const operation = inState('cancelling')
    expect(operation.cancel()).toBe(false)
    expect(operation.state).toBe('cancelling')
  })

  test('cancelling outlasts completions with more and ends with the last one', () => {
    const operation = inState('cancelling')
    expect(operation.complete(true)).toBe(true)
    expect(operation.state).toBe('cancelling')
    expect(operation.complete(false)).toBe(true)
    expect(operation.isIdle).toBe(true)
  })

  test('there is nothing to cancel when idle', () => {
    const operation = inState('idle')
    expect(operation.cancel()).toBe(false)
    expect(operation.state).toBe('idle')
  })

  test.each([true, false])('a completion when idle (more: %s) is a stray one', (more) => {
    const operation = inState('idle')
    expect(operation.complete(more)).toBe(false)
    expect(operation.state).toBe('idle')
  })
})
