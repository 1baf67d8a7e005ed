import { chmod, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { rolldown } from 'rolldown'

/** One file a command, loaded when it is called; packages are bundled, so that the start reads few files. */
const root = join(import.meta.dirname, '..')
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }

await rm(join(root, 'dist'), { recursive: true, force: true })
const bundle = await rolldown({
  input: join(root, 'src/main.ts'),
  platform: 'node',
  transform: { define: { 'process.env.BACKOUT_VERSION': JSON.stringify(version) } },
})
await bundle.write({
  dir: join(root, 'dist'),
  format: 'esm',
  minify: true,
  entryFileNames: 'main.js',
  chunkFileNames: '[name]-[hash].js',
})
await bundle.close()
await chmod(join(root, 'dist/main.js'), 0o755)
