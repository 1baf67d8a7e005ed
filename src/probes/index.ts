import { measureCommand } from './command.ts'
import type { ProbeConfig } from './config.ts'
import { measureHttp } from './http.ts'
import type { Found, Probe, Sample } from './sample.ts'
import { measureSqlite } from './sqlite.ts'

export { type ProbeConfig, probeConfig } from './config.ts'
export type { Probe, Sample } from './sample.ts'

/**
 * Gets one probe of the configuration ready. Connects to nothing yet.
 * @param baseDir The folder of backout.yaml, against which paths are resolved. Absolute.
 */
export function openProbe(name: string, config: ProbeConfig, baseDir: string): Probe {
  return {
    name,
    kind: config.kind,
    async measure(signal): Promise<Sample> {
      signal.throwIfAborted()
      const begun = performance.now()
      const found = await (FIND[config.kind] as Measure<ProbeConfig>)(config, baseDir, signal)
      return { ...found, ms: Math.round(performance.now() - begun) }
    },
  }
}

const FIND: { [K in ProbeConfig['kind']]: Measure<Extract<ProbeConfig, { kind: K }>> } = {
  http: measureHttp,
  command: measureCommand,
  sqlite: measureSqlite,
}

type Measure<Config> = (config: Config, baseDir: string, signal: AbortSignal) => Promise<Found>
