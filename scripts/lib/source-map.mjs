/*
 * Joins source maps of files that follow each other in one file, line by line. Node reads no
 * indexed maps (`sections`). For tsc's maps: one source each, no names.
 */
const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

/** `parts`: `{ line, map }`, the line (from 1 on, the one before is free) that the file starts on. */
export function joinMaps(file, parts) {
  const sources = []
  let mappings = ''
  let line = 0
  let last = [0, 0, 0, 0]
  for (const { line: start, map } of parts) {
    // Positions are relative to the one before: one on the line before leads back to 0.
    const step = [0, sources.length === 0 ? 0 : 1, -last[2], -last[3]].map(encode).join('')
    mappings += `${';'.repeat(start - 1 - line)}${step};${map.mappings}`
    line = start + map.mappings.split(';').length - 1
    last = sumsOf(map.mappings)
    sources.push(...map.sources)
  }
  return { version: 3, file, sources, names: [], mappings }
}

/** Of a segment's four numbers, over the whole map. */
function sumsOf(mappings) {
  const sums = [0, 0, 0, 0]
  for (const segment of mappings.split(/[;,]/)) {
    let [field, value, shift] = [0, 0, 0]
    for (const char of segment) {
      const digit = digits.indexOf(char)
      value |= (digit & 31) << shift
      shift += 5
      if (digit & 32) continue
      sums[field++] += value & 1 ? -(value >> 1) : value >> 1
      value = shift = 0
    }
  }
  return sums
}

/** Base 64 VLQ: groups of five bits, lowest first, with the sign in the lowest bit. */
function encode(number) {
  let text = ''
  let rest = number < 0 ? (-number << 1) | 1 : number << 1
  do {
    const digit = rest & 31
    rest >>>= 5
    text += digits[rest > 0 ? digit | 32 : digit]
  } while (rest > 0)
  return text
}
