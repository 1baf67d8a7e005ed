import type { WayBack } from '../migration-files.ts'
import { alembicBack, djangoBack, javascriptBack, phpBack, rubyBack } from './code.ts'
import { none, section, separate } from './sql.ts'

/** One migration among the files of its folder. */
export interface Found {
  readonly folder: string
  /** Its file, or its own folder. */
  readonly name: string
  readonly names: readonly string[]
  readonly migration: string
  /** Text of a file of the folder; empty where it is not there. */
  read(file: string): Promise<string>
}

/** How a tool lays its files out. */
export interface Layout {
  readonly tool: string
  /** Names of its migrations in their folder. */
  readonly names: RegExp
  /** What tells it from other tools with such names: the text of the first one, all names. */
  readonly marks?: (text: string, names: readonly string[], folder: string) => boolean
  /** The file to read, where a migration is a folder. */
  readonly inside?: string
  isOf(name: string, migration: string, parent: string): boolean
  /** The same by what stands in it, where no name says it. */
  readonly says?: (text: string, migration: string) => boolean
  back(found: Found): Promise<WayBack>
  /** Names of scripts beside them that run when the tool does: each time, or whenever they are others. */
  readonly again?: RegExp
  /** The SQL by which it goes up; null: it is none. Left out: it is a program. */
  readonly up?: (found: Found) => Promise<string | null>
}

const CODE = /\.(?:[cm]?[jt]s)$/
const whole = (found: Found) => found.read(found.name)
const part = (from: RegExp, to: RegExp) => async (found: Found) => {
  const text = (await found.read(found.name)).split(from).at(1)
  return text?.split(to)[0] ?? null
}
const computed = async ({ name }: Found): Promise<WayBack> => ({ is: 'computed', file: name })
const stem = (name: string) => name.replace(/\.[^.]+$/, '')
const numbered = (name: string, migration: string) => new RegExp(`^0*${escaped(migration)}[_.]`).test(name)

/** The ones with more marks first. Names of migrations are as the bookkeeping has them. */
export const LAYOUTS: readonly Layout[] = [
  {
    tool: 'prisma',
    names: /^\d{14}_|^\d+_/,
    inside: 'migration.sql',
    marks: (text, names) => text !== '' || names.includes('migration_lock.toml'),
    isOf: (name, migration) => name === migration,
    back: found => separate(found, join2(found.name, 'down.sql')),
    up: found => found.read(join2(found.name, 'migration.sql')),
  },
  {
    tool: 'drizzle',
    names: /^\d{4,}_\w+\.sql$/,
    marks: (_, names) => names.includes('meta'),
    isOf: () => false,
    back: async ({ name }) => none(name, 'has no way back that Drizzle knows of'),
  },
  {
    tool: 'atlas',
    names: /^\d+.*\.sql$/,
    marks: (_, names) => names.includes('atlas.sum'),
    isOf: (name, migration) => numbered(name, migration) || stem(name) === migration,
    back: computed,
  },
  {
    tool: 'golang-migrate',
    names: /^\d+_.*\.up\.\w+$/,
    isOf: numbered,
    back: found => separate(found, found.name.replace(/\.up\.(\w+)$/, '.down.$1')),
    up: async found => (found.name.endsWith('.sql') ? whole(found) : null),
  },
  {
    tool: 'flyway',
    names: /^V[\d._]+__.*\.\w+$/,
    again: /^(?:R__|(?:before|after)[A-Z]|createSchema\b).*(?<!\.conf)$/,
    isOf: (name, migration) => name === migration.split('/').at(-1),
    back: found => {
      const version = /^V(.+?)__/.exec(found.name)?.[1] ?? ''
      const undo = found.names.find(name => name.startsWith(`U${version}__`))
      return separate(found, undo ?? `U${version}__….sql`)
    },
    up: async found => (found.name.endsWith('.sql') ? whole(found) : null),
  },
  {
    tool: 'dbmate',
    names: /^\d+.*\.sql$/,
    marks: text => /^--\s*migrate:up/m.test(text),
    isOf: (name, migration) => numbered(name, migration),
    back: found => section(found, /^--\s*migrate:down.*$/m),
    up: part(/^--\s*migrate:up.*$/m, /^--\s*migrate:down.*$/m),
  },
  {
    tool: 'goose',
    names: /^\d+_.*\.(?:sql|go)$/,
    marks: text => /^--\s*\+goose Up/im.test(text) || /goose\.AddMigration/.test(text),
    isOf: numbered,
    back: found =>
      found.name.endsWith('.go')
        ? Promise.resolve({ is: 'code', file: found.name })
        : section(found, /^--\s*\+goose Down.*$/im),
  },
  {
    tool: 'liquibase',
    names: /\.(?:sql|xml|ya?ml|json)$/,
    marks: text => /liquibase formatted sql|databaseChangeLog/i.test(text),
    isOf: (name, migration) => name === migration.split('::')[0]?.split('/').at(-1),
    back: async found => ({ is: 'code', file: found.name }),
  },
  {
    tool: 'pgroll',
    names: /\.(?:json|ya?ml)$/,
    marks: text => /"?operations"?\s*:/.test(text),
    isOf: (name, migration) => stem(name) === migration,
    back: computed,
  },
  {
    tool: 'rails',
    names: /^\d{14}_\w+\.rb$/,
    isOf: numbered,
    back: async found => rubyBack(found.name, await found.read(found.name)),
  },
  {
    tool: 'laravel',
    names: /^\d{4}_\d{2}_\d{2}_\d+_\w+\.php$/,
    isOf: (name, migration) => stem(name) === migration,
    back: async found => phpBack(found.name, await found.read(found.name)),
  },
  {
    tool: 'django',
    names: /^\d{4}_\w+\.py$/,
    marks: text => /migrations\.Migration/.test(text),
    isOf: (name, migration, parent) => `${parent}.${stem(name)}` === migration,
    back: async found => djangoBack(found.name, await found.read(found.name)),
  },
  {
    tool: 'alembic',
    names: /\.py$/,
    marks: text => /^down_revision\b/m.test(text),
    isOf: (name, migration) => name.startsWith(`${migration}_`),
    says: (text, migration) => new RegExp(`^revision\\b.*['"]${escaped(migration)}['"]`, 'm').test(text),
    back: async found => alembicBack(found.name, await found.read(found.name)),
  },
  {
    tool: 'typeorm',
    names: CODE,
    marks: text => /MigrationInterface|queryRunner|\basync up\(\w+\)/.test(text) && /\bclass\b/.test(text),
    isOf: (name, migration) => {
      const [, title, time] = /^(.*?)(\d{13,})$/.exec(migration) ?? []
      return time !== undefined && stem(name) === `${time}-${title}`
    },
    says: (text, migration) => new RegExp(`\\b${escaped(migration)}\\b`).test(text),
    back: async found => javascriptBack(found.name, await found.read(found.name)),
  },
  {
    tool: 'sequelize',
    names: CODE,
    marks: text => /queryInterface|module\.exports\s*=\s*\{/.test(text),
    isOf: (name, migration) => name === migration || stem(name) === stem(migration),
    back: async found => javascriptBack(found.name, await found.read(found.name)),
  },
  {
    tool: 'knex',
    names: CODE,
    marks: text => /\bknex\b/i.test(text),
    isOf: (name, migration) => name === migration || stem(name) === stem(migration),
    back: async found => javascriptBack(found.name, await found.read(found.name)),
  },
  {
    tool: 'node-pg-migrate',
    names: /\.(?:[cm]?[jt]s|sql)$/,
    marks: text => /\bpgm\b|node-pg-migrate|^--\s*up migration/im.test(text),
    isOf: (name, migration) => stem(name) === migration,
    back: async found => {
      if (found.name.endsWith('.sql')) return section(found, /^--\s*down migration.*$/im)
      const back = javascriptBack(found.name, await found.read(found.name))
      // Without one, it is worked out from `up`.
      return back.is === 'none' && back.why === 'has no way back' ? { is: 'computed', file: found.name } : back
    },
  },
]

function join2(folder: string, file: string): string {
  return `${folder}/${file}`
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}
