import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'

/** Programs that hand a command to another place, where it goes on when they are ended. */
const CLIENTS = [
  /\b(docker|podman|nerdctl|docker-compose|podman-compose|kubectl|oc)\s(?:[^\n;|&]*\s)?(exec|run)\s/,
  /(?:^|[\s;|&(/'"])(ssh)\s/m,
]
/** A script is no longer than that; what is is a program. */
const SCRIPT_BYTES = 64 * 1024

/** "docker exec": by what a command hands on what it is to do, as far as its words and the scripts that they name say; null: nothing. */
export async function handsOverBy(argv: readonly string[], cwd: string): Promise<string | null> {
  const line = argv.join(' ')
  const words = new Set(line.split(/[\s;|&()'"]+/).filter(Boolean))
  const scripts = await Promise.all([...words].map(word => scriptAt(resolve(cwd, word))))
  for (const text of [`${line} `, ...scripts]) {
    for (const client of CLIENTS) {
      const found = client.exec(text)
      if (found !== null) return found.slice(1).join(' ')
    }
  }
  return null
}

/** What a script does, without its comments; empty where there is none. */
async function scriptAt(path: string): Promise<string> {
  try {
    const { size } = await stat(path)
    const text = size > SCRIPT_BYTES ? '' : await readFile(path, 'utf8')
    return text.includes('\0') ? '' : text.replaceAll(/^\s*#.*$/gm, '')
  } catch {
    return ''
  }
}
