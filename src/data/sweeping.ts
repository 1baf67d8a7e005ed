/** Bytes that were copied in buffers of their own before these are given back. */
const AT_ONCE = 4 * 1024 * 1024

/**
 * To be told of every chunk that goes through a stream. What was copied lies outside of the heap, where nothing is in want of
 * room until 64 MB and more are garbage: it is given back in between, which takes about a millisecond. Where Node does not
 * hand its collector out (`--expose-gc`, which the installed command asks for), nothing is done.
 */
export function sweeping(): (chunk: Uint8Array) => void {
  let since = 0
  return ({ length }) => {
    since += length
    if (since < AT_ONCE) return
    since = 0
    globalThis.gc?.({ type: 'minor', execution: 'sync' })
  }
}
