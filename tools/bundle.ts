import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import { plainBuiltins } from './builtins.ts'
import { lean } from './lean.ts'

const root = join(import.meta.dirname, '..')

/** What is loaded before it is known which command it is, in one file. */
const START =
  /src\/cli\/(program|version|remote|wiring\/find-config)\.ts$|src\/core\/(errors|secret)\.ts$|node_modules\/commander\//

/**
 * The command line as it is shipped: one file a command, loaded when it is called; packages are bundled, so that the start
 * reads few files. `dir` must see the project's node_modules. `more`: entries besides, name and file.
 */
export async function bundle(dir: string, more: Readonly<Record<string, string>> = {}): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const made = await rolldown({
    input: {
      main: join(root, 'src/main.ts'),
      // The thread is a file of its own, found beside what starts it.
      'digest-worker': join(root, 'src/adapters/sqlite/digest-worker.ts'),
      ...more,
    },
    platform: 'node',
    // They look for files beside themselves (WebAssembly, protocol buffers, native code that need not be there).
    external: ['libpg-query', 'dockerode'],
    transform: { define: { 'process.env.BACKOUT_VERSION': JSON.stringify(version) } },
    plugins: [lean, plainBuiltins],
  })
  await made.write({
    dir,
    format: 'esm',
    minify: true,
    entryFileNames: '[name].js',
    chunkFileNames: '[name]-[hash].js',
    codeSplitting: {
      groups: [
        { name: 'start', test: START },
        // What most commands share, in another: each file costs a millisecond.
        { name: 'session', test: /\/(src|zod|yaml)\//, minShareCount: 12 },
      ],
    },
  })
  await made.close()
}
