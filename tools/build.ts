import { chmod, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import { plainBuiltins } from './builtins.ts'

/** One file a command, loaded when it is called; packages are bundled, so that the start reads few files. */
const root = join(import.meta.dirname, '..')
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }

/** What is loaded before it is known which command it is, in one file. */
const START =
  /src\/cli\/(program|version|remote|wiring\/find-config)\.ts$|src\/core\/(errors|secret)\.ts$|node_modules\/commander\//

await rm(join(root, 'dist'), { recursive: true, force: true })
const bundle = await rolldown({
  // The thread is a file of its own, found beside what starts it.
  input: { main: join(root, 'src/main.ts'), 'digest-worker': join(root, 'src/adapters/sqlite/digest-worker.ts') },
  platform: 'node',
  // They look for files beside themselves (WebAssembly, protocol buffers, native code that need not be there).
  external: ['libpg-query', 'dockerode'],
  transform: { define: { 'process.env.BACKOUT_VERSION': JSON.stringify(version) } },
  plugins: [plainBuiltins],
})
await bundle.write({
  dir: join(root, 'dist'),
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
await bundle.close()
await chmod(join(root, 'dist/main.js'), 0o755)
