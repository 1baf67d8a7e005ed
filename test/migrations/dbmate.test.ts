import { tool } from './project.ts'
import { story } from './story.ts'

const dbmate = (file: string, word: string) => [
  ...tool('dbmate/dist/cli.js'),
  '--no-dump-schema',
  '-u',
  `sqlite:${file}`,
  '-d',
  'db/migrations',
  word,
]

story({
  tool: 'dbmate',
  back: 'sql',
  found: async () => {},
  write: (p, { version, title, up, down }) =>
    p.write(`db/migrations/${version}_${title}.sql`, `-- migrate:up\n${up};\n\n-- migrate:down\n${down};\n`),
  up: p => void p.run(dbmate(p.file, 'up')),
  down: p => dbmate(p.file, 'rollback'),
  called: ({ version }) => version,
})
