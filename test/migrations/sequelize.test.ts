import { driver, tool } from './project.ts'
import { story } from './story.ts'

const SEQUELIZE = tool('sequelize-cli/lib/sequelize', '--config', 'config.cjs', '--env', 'production')

story({
  tool: 'sequelize',
  back: 'code',
  found: p =>
    p.write(
      'config.cjs',
      `const dialectModule = require(${JSON.stringify(driver('sqlite3.fixture.ts'))})
       exports.production = { dialect: 'sqlite', dialectModule, storage: ${JSON.stringify(p.file)}, logging: false }`,
    ),
  write: (p, { version, title, up, down }) =>
    p.write(
      `migrations/${version}-${title}.js`,
      `module.exports = {
         up: query => query.sequelize.query(${JSON.stringify(up)}),
         down: query => query.sequelize.query(${JSON.stringify(down)}),
       }`,
    ),
  up: p => void p.run([...SEQUELIZE, 'db:migrate']),
  down: () => ['sh', '-c', `${SEQUELIZE.join(' ')} db:migrate:undo --name "$BACKOUT_MIGRATION"`],
  called: ({ version, title }) => `${version}-${title}.js`,
})
