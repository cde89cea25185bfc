/**
 * How libuv takes a reset right behind data. Before 1.52 (Node 20, 22, and older 24) it took the hang-up for the end of
 * the stream, and left the error to a write. Since then it reads again, and the reader is told of the error
 * (uv__stream_io in src/unix/stream.c).
 */
const [major = 0, minor = 0] = process.versions.uv.split('.').map(Number)

export const readsResetAsEnd = major === 1 && minor < 52
