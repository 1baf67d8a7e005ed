#!/usr/bin/env -S node --disable-warning=ExperimentalWarning --min-semi-space-size=4 --max-semi-space-size=4 --expose-gc
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `error [node_too_old]: Backout needs Node 22.19 or newer, this is ${process.versions.node}\nnext:  install a newer Node, or run it from its repository, which brings one: npm run backout\n`,
  )
  process.exit(2)
}

// What one command compiled, the next need not. Where it cannot be kept, it is compiled again.
const { enableCompileCache } = process.getBuiltinModule('node:module')
const { homedir } = process.getBuiltinModule('node:os')
enableCompileCache(`${process.env['XDG_CACHE_HOME'] || `${homedir()}/.cache`}/backout`)

const { main } = await import('./cli/program.ts')
process.exit(await main(process.argv.slice(2)))
