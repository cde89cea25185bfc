/** What each kernel feature the driver may use is for, in words for the page and the terminal. Never asks the kernel. */

export interface Feature {
  name: string
  purpose: string
  inUse: boolean
}

const purposes: Record<string, string> = {
  coopTaskrun: 'The kernel finishes work when we enter it, instead of interrupting us for it.',
  singleIssuer: 'One thread owns the ring, so the kernel takes fewer locks.',
  deferTaskrun: 'Completions are gathered until we ask for them.',
  multishotAccept: 'One operation accepts every connection a listener will ever get.',
  multishotReceive: 'One operation delivers every chunk a connection will ever get.',
  bufferRing: 'The kernel takes receive buffers from one shared ring, only when bytes arrive.',
  incrementalBuffers: 'Small chunks share a receive buffer instead of using one each.',
  syncCancel: 'Work in flight is cancelled and awaited in one call, at teardown.',
  sendZeroCopy: 'The kernel can send from our memory without copying.',
}

/** Every known feature with its purpose, those in use first, plus any in use that this list does not know. */
export function describeFeatures(inUse: readonly string[]): Feature[] {
  const used = new Set(inUse)
  const known = Object.entries(purposes).map(([name, purpose]) => ({
    name,
    purpose,
    inUse: used.delete(name),
  }))
  const others = [...used].map((name) => ({ name, purpose: '', inUse: true }))
  return [...known, ...others].sort((a, b) => Number(b.inUse) - Number(a.inUse))
}
