/** Placeholder until a home on another machine is forwarded to. */
export async function forward(_argv: readonly string[]): Promise<number | null> {
  return null
}
