import { Command, CommanderError, Option } from 'commander'
import { BackoutError, EXIT, messageOf } from '../core/errors.ts'
import { redact } from '../core/secret.ts'
import { EXAMPLES } from './examples.ts'
import { refuseLost, shown } from './out.ts'
import { reasoned } from './reasoned.ts'
import { forward } from './remote.ts'
import { VERSION } from './version.ts'

/** What every command takes. */
export interface Globals {
  readonly config?: string
  readonly json: boolean
  readonly debug: boolean
}

type Handler<O> = (globals: Globals, options: O, ...args: (string | undefined)[]) => Promise<number>

/** Parses the arguments, runs the command, answers the exit code. The one place where errors become text. */
export async function main(argv: readonly string[]): Promise<number> {
  const remote = await forward(argv, build).catch(failed(argv))
  if (remote !== null) return remote
  let code: number = EXIT.ok
  const program = build(async (load, globals, options, args) => {
    const handler = (await load()) as Handler<unknown>
    code = await handler(globals, options, ...args)
  })
  try {
    await program.parseAsync(argv, { from: 'user' })
    // Whoever reads only what was written would take a part, or nothing, for the answer.
    if (code === EXIT.ok) await refuseLost()
    return code
  } catch (error) {
    if (!(error instanceof CommanderError)) return failed(argv)(error)
    // The help itself was asked for, or shown where no command was named.
    if (error.exitCode === 0) return EXIT.ok
    if (error.code === 'commander.help')
      return argv.includes('--json') ? failed(argv)(noCommand(program, argv)) : EXIT.usage
    return failed(argv)(wrongArguments(error, program, argv))
  }
}

/** What the parser says, as an error like every other. */
function wrongArguments(error: CommanderError, program: Command, argv: readonly string[]): BackoutError {
  const [what = '', ...more] = error.message.replace(/^error: /, '').split('\n')
  const meant = more.map(line => line.replace(/^\(Did you mean (.*)\?\)$/, 'did you mean $1?'))
  const next = [...meant, `${['backout', ...named(program, argv)].join(' ')} --help`].join('\n')
  return argumentsInvalid(`${what[0]?.toUpperCase()}${what.slice(1)}`, next)
}

function noCommand(program: Command, argv: readonly string[]): BackoutError {
  const of = ['backout', ...named(program, argv)].join(' ')
  return argumentsInvalid(`No command of ${of} was named`, `${of} --help`)
}

function argumentsInvalid(what: string, next: string): BackoutError {
  return new BackoutError({ code: 'arguments_invalid', what, next, exit: 'usage' })
}

/** The commands among the words, as far as they are any. */
function named(program: Command, argv: readonly string[]): string[] {
  const first = argv.findIndex(word => program.commands.some(c => c.name() === word))
  const path: string[] = []
  let at: Command | undefined = program
  for (const word of first < 0 ? [] : argv.slice(first)) {
    at = at?.commands.find(c => c.name() === word)
    if (at === undefined) break
    path.push(word)
  }
  return path
}

/** Prints an error and answers its exit code. */
function failed(argv: readonly string[]): (error: unknown) => number {
  return error => {
    const known =
      error instanceof BackoutError
        ? error
        : new BackoutError({
            code: 'unexpected',
            what: 'Backout met something that it did not expect',
            cause: messageOf(error),
            next: 'run it again with --debug and report what it says; `backout status` tells where a run stands',
          })
    if (argv.includes('--json') && known.code !== 'output_unwritable') {
      const { code, message: what, why: cause, next } = known
      process.stdout.write(`${redact(JSON.stringify({ error: { code, what, cause, next } }))}\n`)
    } else process.stderr.write(`${shown(known.format())}\n`)
    if (argv.includes('--debug') && error instanceof Error) process.stderr.write(`${shown(error.stack ?? '')}\n`)
    return EXIT[known.exit]
  }
}

type Run = (
  load: () => Promise<unknown>,
  globals: Globals,
  options: unknown,
  args: (string | undefined)[],
) => Promise<void>

/** The whole command line. Handlers are loaded when they are called, so that `--help` costs nothing. */
export function build(run: Run): Command {
  const program = new Command('backout')
    .description(
      'Takes a bad release back - code, configuration, traffic and data - as one durable, verified operation.',
    )
    .version(VERSION, '-V, --version')
    .option('-c, --config <file>', 'the configuration; backout.yaml of this folder or one above by default')
    .option('--json', 'answer as JSON (one line an event while a run goes on)', false)
    .option('--debug', 'show where an error came from', false)
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .exitOverride()
    .configureHelp({ showGlobalOptions: true, optionDescription: option => option.description })
    .configureOutput({ outputError: () => {} })
    .addHelpText('after', ENDS)
  const action =
    (load: () => Promise<unknown>) =>
    async (...given: unknown[]) => {
      const command = given.at(-1) as Command
      const args = given.slice(0, -2) as (string | undefined)[]
      await run(load, program.opts<Globals>(), reasoned(command), args)
    }
  prepare(program, action)
  decide(program, action)
  execute(program, action)
  carry(program, action)
  learn(program, action)
  for (const command of program.commands) finishHelp(command, command.name())
  return program
}

const CODES = Object.entries(EXIT).map(([name, code]) => `${code} ${name}`)

const ENDS = `
Exit codes:
  ${CODES.slice(0, 7).join(', ')},
  ${CODES.slice(7).join(', ')}
docs/cli.md says what each means; docs/recovery.md what to do when a run stops.`

function finishHelp(command: Command, path: string): void {
  command.helpCommand(false)
  for (const inner of command.commands) finishHelp(inner, `${path} ${inner.name()}`)
  const examples = EXAMPLES[path] ?? []
  if (examples.length > 0) command.addHelpText('after', ['', 'Examples:', ...examples.map(e => `  ${e}`)].join('\n'))
}

type Action = (load: () => Promise<unknown>) => (...given: unknown[]) => Promise<void>

function prepare(program: Command, action: Action): void {
  program.commandsGroup('Prepare:')
  program
    .command('init')
    .description('look at this folder and machine, and write a commented backout.yaml')
    .option('--force', 'replace the file that is there', false)
    .action(action(async () => (await import('./commands/init.ts')).init))
  program
    .command('doctor')
    .description('name what is missing to be able to go back, and how to get it')
    .action(action(async () => (await import('./commands/doctor.ts')).doctor))
  program
    .command('capture <release>')
    .description('write down how to come back to what runs now; databases are backed up and the backup is proven')
    .option('--known-good', 'say at once that it is good', false)
    .action(action(async () => (await import('./commands/capture.ts')).capture))
  const upgrade = program.command('upgrade').description('for the deployment script: tell that an upgrade goes on')
  upgrade
    .command('begin <release>')
    .description('capture and back up what is left behind, before anything is changed')
    .option('--from <release>', 'the name of what is left behind, where Backout does not know it')
    .option('--uncaptured <why>', 'it is bad and no way back: what of it cannot be captured is left out')
    .action(action(async () => (await import('./commands/upgrade.ts')).begin))
  upgrade
    .command('migrated <release>')
    .description('right after migrating, before traffic')
    .option('--users-away', 'no user could write since `upgrade begin`: all that differs is the work of the migrations')
    .option('--wrote <what...>', 'what the migrations wrote: TABLE, TABLE.COLUMN, COMPONENT:TABLE, or none')
    .action(action(async () => (await import('./commands/upgrade.ts')).migrated))
  upgrade
    .command('end <release>')
    .description('capture the new release; it becomes known-good once its gates have held for the bake time')
    .action(action(async () => (await import('./commands/upgrade.ts')).end))
  program
    .command('releases')
    .description('list what can be gone back to')
    .option('--all', 'departures of earlier runs too', false)
    .action(action(async () => (await import('./commands/releases.ts')).releases))
  const release = program.command('release').description('one release: show, compare, mark, export, import')
  release
    .command('show <release>')
    .description('its captures, pins, backups and marks')
    .action(action(async () => (await import('./commands/releases.ts')).show))
  release
    .command('compare <a> <b>')
    .description('what differs between two releases; "now" is what runs')
    .action(action(async () => (await import('./commands/releases.ts')).compare))
  release
    .command('mark <release> <state>')
    .description('captured, known-good or bad')
    .option('--why <text>', 'the reason, kept with the mark')
    .action(action(async () => (await import('./commands/releases.ts')).mark))
  release
    .command('export <release> <file>')
    .description('one compressed, encrypted file with its pins, secrets and backups')
    .option(
      '--recipient <age1…>',
      'encrypt to this age recipient instead of a passphrase (BACKOUT_PASSPHRASE or typed)',
    )
    .action(action(async () => (await import('./commands/package.ts')).exportRelease))
  release
    .command('import <file>')
    .description('take in an exported release; refused where anything in it was altered')
    .option('--identity <file>', 'age identities to open it with; the keys of this home by default')
    .action(action(async () => (await import('./commands/package.ts')).importRelease))
  release
    .command('recipient')
    .description('the recipient to export to, so that this home can take the release in')
    .action(action(async () => (await import('./commands/package.ts')).recipient))
  backups(program, action)
}

function backups(program: Command, action: Action): void {
  const all = program.command('backups').description('backups: what there is, where it lies, and why it stays')
  all
    .command('list', { isDefault: true })
    .description('every backup, and why it stays')
    .action(action(async () => (await import('./commands/backups.ts')).list))
  all
    .command('prune')
    .description('remove what neither backups.keep nor a release keeps; says first what')
    .option('-y, --yes', 'do not ask for the name of the environment', false)
    .option('--also <backup...>', 'these too, though they are kept for something; backout backups says for what')
    .action(action(async () => (await import('./commands/backups.ts')).prune))
}

function decide(program: Command, action: Action): void {
  program.commandsGroup('Decide:')
  program
    .command('gates [gate]')
    .description('ask the gates now')
    .action(action(async () => (await import('./commands/gates.ts')).gates))
  program
    .command('assess')
    .description('roll back, consider it, or fix forward: the answer with its reasons')
    .requiredOption('--severity <level>', 'critical, high, medium or low')
    .requiredOption('--data-impact <impact>', 'none, minor, major or corruption')
    .option('--time-to-fix <duration>', 'how long mending would take: 45m, 2h; unknown if left out')
    .option('--affects <system...>', 'systems that are hit')
    .option('--users <text...>', 'users that are hit')
    .option('--functions <text...>', 'business functions that are hit')
    .option('--note <text>', 'what was seen')
    .option('--to <release>', 'the release that would be gone back to')
    .option('--overrule <answer>', 'roll-back, consider or fix-forward, whatever the matrix says')
    .option('--why <text>', 'why it is overruled')
    .action(action(async () => (await import('./commands/assess.ts')).assess))
  program
    .command('plan')
    .description('what going back would do, cost and lose; touches nothing')
    .option('--to <release>', 'the release to go back to; by default the newest known-good one that does not run now')
    .option('--out <file>', 'keep the plan for `backout run FILE`')
    .option('--emergency', 'the shortest safe path', false)
    .action(action(async () => (await import('./commands/plan.ts')).plan))
  database(program, action)
}

function database(program: Command, action: Action): void {
  const db = program.command('db').description('databases beside what was captured of them')
  db.command('check [component]')
    .description('what differs from a release as it was captured: schema, and data by table and column')
    .option('--release <release>', 'the one that runs by default')
    .option('--rows <n>', 'show so many of the rows that differ, of each table')
    .option('--show-values', 'show what is in them; masked otherwise', false)
    .action(action(async () => (await import('./commands/db.ts')).check))
}

function execute(program: Command, action: Action): void {
  program.commandsGroup('Go back:')
  program
    .command('run [plan]')
    .description('go back: by a kept plan, or by a new one that is shown first')
    .option('--to <release>', 'the release to go back to; by default the newest known-good one that does not run now')
    .option('-y, --yes', 'do not ask for the name of the environment', false)
    .option('--loss-window <time>', 'confirm a restore ahead: the backup is no older than this, such as "1h"')
    .option('--emergency', 'one confirmation, the shortest safe path', false)
    .option('--reason <text>', 'why, for the journal and the report')
    .option('--detach', 'go on without this terminal', false)
    .option('--dry-run', 'go through it without touching anything', false)
    .action(action(async () => (await import('./commands/run.ts')).run))
  program
    .command('status [run]')
    .description('where a run stands, and what it waits for')
    .option('-f, --follow', 'stay and watch', false)
    .action(action(async () => (await import('./commands/status.ts')).status))
  program
    .command('resume [run]')
    .description('go on after a pause, a crash or a question')
    .option('--next-rung', 'take the next way back instead of trying again', false)
    .option('--replaced', 'go on though a component is another system now: it was replaced since the run began', false)
    .action(action(async () => (await import('./commands/resume.ts')).resume))
  program
    .command('pause [run]')
    .description('stop after the step in progress')
    .action(action(async () => (await import('./commands/control.ts')).pause))
  program
    .command('abort [run]')
    .description('start nothing new, and leave users served or told')
    .option('--reason <text>', 'why, for the journal and the report')
    .option('--replaced', 'go on though a component is another system now: it was replaced since the run began', false)
    .action(action(async () => (await import('./commands/resume.ts')).abort))
  program
    .command('revert [run]')
    .description('a new run, back to where the run started')
    .option('-y, --yes', 'do not ask for the name of the environment', false)
    .option('--loss-window <time>', 'confirm a restore ahead: the backup is no older than this, such as "1h"')
    .option('--reason <text>', 'why, for the journal and the report')
    .action(action(async () => (await import('./commands/run.ts')).revert))
  program
    .command('resolve <step>')
    .description('your word on a step that nothing else can tell of')
    .addOption(new Option('--done', 'it took effect').conflicts(['notDone', 'look']))
    .addOption(new Option('--not-done', 'it did not').conflicts(['done', 'look']))
    .option('--look', 'ask the target again, which did not answer')
    .option('--reason <text>', 'how you know')
    .action(action(async () => (await import('./commands/control.ts')).resolve))
  program
    .command('skip <step>')
    .description('go on without a step or gate')
    .requiredOption('--reason <text>', 'why, for the journal and the report')
    .action(action(async () => (await import('./commands/control.ts')).skip))
  program
    .command('approve [run]')
    .description('allow what goes beyond the approved plan')
    .option('--reason <text>', 'why, for the journal and the report')
    .action(action(async () => (await import('./commands/control.ts')).approve))
}

function carry(program: Command, action: Action): void {
  program.commandsGroup('Carry data forward:')
  const data = program.command('data').description('bring back what was written between the release and a restore')
  const words = (command: Command) =>
    command
      .option('--run <run>', 'the run that restored; the newest one that did by default')
      .option('--mode <mode>', 'cell (default), row, or report')
      .option('--settle <word...>', 'ours, theirs, KIND=theirs, TABLE:KIND=ours, or a file of decisions')
      .option('--renamed <old=new...>', 'what was renamed: orders.total=orders.cents, or a table')
      .option('--corruption', 'the data may be corrupt: nothing is carried that nobody releases')
      .option('--suspect <table=sql...>', 'rows of the new schema that are suspect')
      .option('--since <time>', 'rows made or changed since are suspect')
      .option('--until <time>', 'rows made or changed until then are suspect')
  const shown = (command: Command) =>
    command
      .option('--show <n>', 'how many conflicts of each table are shown', '5')
      .option('--values', 'show what stands in them', false)
  shown(words(data.command('plan [component]')))
    .description('what would be carried, what conflicts and what has no place; touches nothing')
    .action(action(async () => (await import('./commands/data.ts')).plan))
  words(data.command('apply [component]'))
    .description('carry it forward, archive the rest, and prove it')
    .option('--plan <hash>', 'only if the plan is this one; nothing is asked then')
    .option('-y, --yes', 'do not ask for the name of the component', false)
    .option(
      '--as-it-is <reason>',
      'what an earlier try left and was not borne out is as it is to be; why, for the journal',
    )
    .action(action(async () => (await import('./commands/data.ts')).apply))
  shown(data.command('status [component]'))
    .description('what was carried, and what waits for a word')
    .option('--run <run>', 'the run that restored; the newest one that did by default')
    .action(action(async () => (await import('./commands/data.ts')).status))
  data
    .command('replay [component]')
    .description('after a later roll-forward: put back what the old schema had no place for')
    .option('--run <run>', 'the run that restored; the newest one that did by default')
    .option(
      '--settle <word...>',
      'over what is there: theirs, TABLE=theirs or TABLE.COLUMN=theirs; conflicts: TABLE:KIND=theirs',
    )
    .action(action(async () => (await import('./commands/data.ts')).replay))
  data
    .command('release [component]')
    .description('let rows out of quarantine, by the word of a named person')
    .option('--run <run>', 'the run that restored; the newest one that did by default')
    .requiredOption('--by <name>', 'who answers for it')
    .requiredOption('--reason <text>', 'why, for the journal')
    .option('--table <table>', 'rows of this table of the new schema only')
    .option('--where <sql>', 'rows of which this is true only')
    .option('--all', 'the suspect ones too', false)
    .action(action(async () => (await import('./commands/data.ts')).release))
}

function learn(program: Command, action: Action): void {
  program.commandsGroup('Learn:')
  program
    .command('report [run]')
    .description('what happened, from the journal: Markdown, or JSON with --json')
    .option('--out <file>', 'write it there instead')
    .action(action(async () => (await import('./commands/report.ts')).report))
  const audit = program.command('audit').description('the chain of events')
  audit
    .command('verify')
    .description('find any event that was edited, removed or moved, and a cut-off end')
    .option('--head <n:mac>', 'an announced head, as a report shows it')
    .action(action(async () => (await import('./commands/audit.ts')).verify))
  program
    .command('adapters')
    .description('list the adapters')
    .action(action(async () => (await import('./commands/schema.ts')).adapters))
  program
    .command('schema')
    .description('the JSON schema of backout.yaml, for editors')
    .action(action(async () => (await import('./commands/schema.ts')).schema))
  const vault = program.command('vault').description('the encrypted content of the home')
  vault
    .command('rotate')
    .description('make a new key and seal everything again with it')
    .action(action(async () => (await import('./commands/vault.ts')).rotate))
  program
    .command('worker <run>', { hidden: true })
    .action(action(async () => (await import('./commands/worker.ts')).worker))
}
