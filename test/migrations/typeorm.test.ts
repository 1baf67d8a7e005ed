import { driver, tool } from './project.ts'
import { story } from './story.ts'

const TYPEORM = tool('typeorm/cli.js')

story({
  tool: 'typeorm',
  back: 'code',
  found: p =>
    p.write(
      'data-source.cjs',
      `const { DataSource } = require('typeorm')
       const driver = require(${JSON.stringify(driver('better-sqlite3.fixture.ts'))}).default
       exports.source = new DataSource({ type: 'better-sqlite3', driver, database: ${JSON.stringify(p.file)}, migrations: ['migrations/*.js'] })`,
    ),
  write: (p, { version, title, up, down }) =>
    p.write(
      `migrations/${version}-${title}.js`,
      `exports.${title}${version} = class {
         name = '${title}${version}'
         async up(runner) { await runner.query(${JSON.stringify(up)}) }
         async down(runner) { await runner.query(${JSON.stringify(down)}) }
       }`,
    ),
  up: p => void p.run([...TYPEORM, 'migration:run', '-d', 'data-source.cjs']),
  down: () => [...TYPEORM, 'migration:revert', '-d', 'data-source.cjs'],
  called: ({ version, title }) => `${title}${version}`,
})
