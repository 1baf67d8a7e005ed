import { access, constants } from 'node:fs/promises'
import { join } from 'node:path'
import type { Observation } from '../../core/contract.ts'
import { BOOKKEEPING } from '../../data/bookkeeping.ts'
import type { Candidate } from './found.ts'
import type { Site } from './site.ts'
import { tryOut } from './trial.ts'

type Wish = Pick<Candidate, 'id' | 'adapter' | 'what' | 'about' | 'settings' | 'secrets'>

/** A database as a component, with the tool that migrates it and how that undoes a migration. */
export async function migrated(site: Site, wish: Wish, runIn: string | null): Promise<Candidate> {
  const observed = await tryOut(wish, site.dir)
  const tool = typeof observed === 'string' ? null : toolIn(observed)
  const down = await downOf(site, tool)
  const migrations =
    tool === null ? null : { tool, ...(down.sure ? { down: down.line } : {}), ...inside(down.sure, runIn) }
  const hints = [
    ...(tool === null
      ? []
      : [
          `migrations.down undoes ONE migration, $BACKOUT_MIGRATION${runIn === null ? '' : ', from the release that has its script'}.`,
        ]),
    ...(typeof observed === 'string' ? [] : further(observed)),
    ...(tool !== null && !down.sure ? [`migrations: { down: ${JSON.stringify(down.line)} }`] : []),
    'writers: none        # if no other component writes to it',
  ]
  const settings = { ...wish.settings, ...(migrations === null ? {} : { migrations }) }
  const what = `${wish.what}${tool === null ? '' : `, migrated by ${tool}`}`
  return {
    ...wish,
    what,
    settings,
    hints,
    layer: 'data',
    held: typeof observed === 'string' ? (observed.split('\n')[0] ?? observed) : null,
  }
}

function toolIn({ state }: Observation): string | null {
  const level = (state as { level?: { tool?: string | null } } | null)?.level
  return level?.tool ?? null
}

function further({ state }: Observation): string[] {
  const level = (state as { level?: { more?: readonly { table: string }[] } } | null)?.level
  const tables = level?.more?.map(({ table }) => table) ?? []
  if (tables.length === 0) return []
  return [
    `Migrations are kept in ${tables.join(', ')}, too: name in migrations.table what \`down\` undoes, the others in migrations.also.`,
  ]
}

/** Packages by which a project says that it has the tool. */
const PACKAGES: Readonly<Record<string, string>> = {
  knex: 'knex',
  sequelize: 'sequelize-cli',
  dbmate: 'dbmate',
  'node-pg-migrate': 'node-pg-migrate',
}

/** Files of the project that are the tool. */
const COMMANDS: Readonly<Record<string, string>> = { rails: 'bin/rails' }

/** The command is only taken where the project has the tool and nothing in the command is left to fill in. */
async function downOf(site: Site, tool: string | null): Promise<{ line: string; sure: boolean }> {
  const line = BOOKKEEPING.find(b => b.tool === tool)?.down ?? null
  if (tool === null || line === null) return { line: './undo-one-migration', sure: false }
  const [own, file] = [PACKAGES[tool], COMMANDS[tool]]
  const installed = own !== undefined && site.packages.has(own)
  return { line, sure: installed || (file !== undefined && (await isExecutable(join(site.dir, file)))) }
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

function inside(sure: boolean, runIn: string | null): { runIn?: string } {
  return sure && runIn !== null ? { runIn } : {}
}
