import type { z } from 'zod'
import type { Json } from './json.ts'
import type { ComponentId, NeedWhat, Phase, StepId, Tier } from './words.ts'

/**
 * The contract between Backout and the systems that it takes back. One adapter a kind of system; test/conformance
 * holds every one of them to what is written here.
 */
export interface Adapter<Config = unknown, Pin = unknown> {
  /** The word in `adapter:` of backout.yaml. */
  readonly kind: string
  /** Validates `settings:` of a component. Also feeds the JSON schema for editors: give every field `.describe()`. */
  readonly config: z.ZodType<Config>
  /** Validates a pin read from the ledger. Secret content never stands in a pin, only a reference into the vault. */
  readonly pin: z.ZodType<Pin>
  /** Raised when the shape of the pin changes; a pin of another version is a blocker, never guessed at. */
  readonly pinVersion: number
  /** Gets ready to talk to the system. May connect lazily; must not change anything. */
  open(config: Config, ctx: OpenContext): Promise<Target<Pin>>
}

/** What a target is told about where it stands. */
export interface OpenContext {
  readonly environment: string
  readonly component: ComponentId
  /** Relative paths of the settings are resolved against this folder (that of backout.yaml). Absolute. */
  readonly baseDir: string
  /** A folder of this component's own inside `home:`, for caches and sockets; made when first needed. Absolute. */
  readonly stateDir: string
  readonly backups: BackupStore
  readonly vault: Vault
}

/** One component of one environment, opened. Every method may be called again after any crash, by another process. */
export interface Target<Pin = unknown> extends AsyncDisposable {
  /** The ways back that this target knows, gentlest first. */
  readonly rungs: readonly Rung[]
  /** What other components may ask of it. */
  readonly serves: readonly NeedWhat[]
  /** Reads what the component is right now. Reads only. Throws when the system cannot be asked at all. */
  observe(signal: AbortSignal): Promise<Observation>
  /**
   * Writes down how to come back to what was observed. May make backups and seal secrets; changes nothing in the system.
   * `departure` captures come right before a rollback and must be quick: what the plan's backup phase will save is not saved twice.
   */
  capture(observed: Observation, act: CaptureAct): Promise<Pin>
  /** What going from `from` to `to` by this rung would take. Reads only; may be called many times with growing needs. */
  propose(question: Question<Pin>): Promise<Proposal>
  /** Brings about the effect of one step; returns once it is visible. Calls `act.guard()` right before each write. */
  apply(step: Step, act: StepAct): Promise<void>
  /** Asks the target, never memory, what became of a step. Reads only. */
  verify(step: Step, act: StepAct): Promise<Verdict>
  /** Runs a command from the artefact of the release that is left (`from`) or gone back to (`to`). */
  exec?(side: 'from' | 'to', argv: readonly string[], act: ExecAct): Promise<ExecResult>
  /**
   * What became of a command that `exec` began under this mark, where the process that began it is gone and the command need
   * not be: a job of the cluster, a container. null: nothing of it is there. Reads only.
   */
  execLeft?(idem: string, signal: AbortSignal): Promise<ExecLeft | null>
  /** Keeps a step's target away from users until it proves its version. Called for `onUnknown: 'fence'`. */
  fence?(step: Step, act: StepAct): Promise<void>
  /**
   * Long after a step was fenced: what its target as a whole (all of a host) is on now, of all that `steps` of the component
   * were to bring about there. What proves the release counts, whoever brought it about. Reads only. Without it `verify` is
   * asked for the step alone.
   */
  standsOn?(step: Step, steps: readonly Step[], act: StepAct): Promise<StandsOn>
  /**
   * Right after the migrations of an upgrade and before users write: keeps what tells the migrations' own changes from what
   * users change later, as a backup with the reason `migrated`, the upgraded release, and facts that name the upgrade. Throws
   * where a migration is still under way. Answers the backup; null: nothing is kept, for the settings say that nothing is ever carried forward.
   */
  migrated?(act: MigratedAct): Promise<Backup | null>
  /** Compares what is there with what was captured, to the row where asked. Changes nothing; may load a backup beside. */
  compare?(question: CompareQuestion<Pin>): Promise<Compared>
  /** Tools, rights and settings that capturing and going back need, looked at ahead. Reads only; throws when it cannot be asked. */
  ready?(signal: AbortSignal): Promise<Readiness>
  /** What can be gone back to where nothing was ever captured: release folders, tags, backups found. Newest first. */
  remembered?(signal: AbortSignal): Promise<Remembered<Pin>[]>
}

export interface Readiness {
  /** What was asked and is as it should be. For people. */
  readonly well: readonly string[]
  readonly findings: readonly Finding[]
}

export interface Rung {
  readonly id: string
  readonly tier: Tier
  /** For people: "switch the symlink", "restore the backup". */
  readonly title: string
}

export interface Remembered<Pin> {
  release: string
  pin: Pin
  at: string | null
}

export interface Observation {
  /** Which system this is (cluster, database, repository): a pin of another identity is a blocker. Stable over releases. */
  readonly identity: string
  /** What the component is. Covered by the plan's hash: leave out whatever moves by itself. */
  readonly state: Json
  /** What moves by itself: counts, replicas, times. */
  readonly detail: Json
  /** One line for people: "v1.3.0 on 3 of 3 hosts". */
  readonly summary: string
  /** Operations that somebody else has under way on this target. */
  readonly inFlight: readonly { what: string; since: string | null }[]
}

export interface Question<Pin> {
  readonly from: Observation
  readonly to: Pin
  /** The release's name, for messages. */
  readonly release: string
  readonly rung: string
  /** What other components ask of this one. Answer with `serves`; what is not served is a blocker for the asker. */
  readonly needs: readonly Need[]
  /** What runs brought about here (`begins`) and did not take back: this plan sees to its end, asked or not. None: left out. */
  readonly left?: readonly NeedWhat[]
  /** Every component that depends on this one, directly or not, nearest first, with what it can serve. */
  readonly dependents: readonly { id: ComponentId; serves: readonly NeedWhat[] }[]
  /** Every component that this one depends on, directly or not, nearest first. */
  readonly dependencies: readonly { id: ComponentId; serves: readonly NeedWhat[] }[]
  /**
   * ISO time when the upgrade began that put another release in the target's place, as `backout upgrade begin` told it:
   * what was written since is not the target's. null: nobody told of one. Leave it out of steps; a plan is made again later.
   */
  readonly upgradedAt: string | null
  /** `emergency`: the shortest safe path; say in `omits` what was left out. */
  readonly mode: 'full' | 'emergency'
  readonly signal: AbortSignal
}

export interface Proposal {
  /** null: nothing would change here (steps may still serve needs). */
  readonly change: Change | null
  readonly findings: readonly Finding[]
  readonly impact: Impact
  readonly needs: readonly Omit<Need, 'by'>[]
  /** Those of the needs asked that these steps see to. */
  readonly serves: readonly Need[]
  /**
   * The operations in flight (`what` of the observation) that these steps stop, or wait for, before anything else is
   * changed. They are told instead of standing in the way of the plan.
   */
  readonly settles?: readonly string[]
  readonly steps: readonly Step[]
  /** How the steps are ordered within each phase. Every step stands in exactly one phase. */
  readonly phases: Readonly<Partial<Record<Phase, Node>>>
  /** Steps that take users to safety (served or told): applied when the run is aborted or a gate fails. */
  readonly safe: readonly StepId[]
  readonly omits: readonly string[]
  /** What is on the release and does not run as it should, where no step would change that. A run's end is no success with it. */
  readonly unwell?: readonly Unwell[]
}

export interface Unwell {
  /** The step that would bring it to the release, were it not there. */
  readonly step: StepId
  readonly why: string
  /** Nothing is wrong with it but that it is on its way: for so many milliseconds it may still be. */
  readonly mayTakeMs?: number
}

export interface Change {
  readonly from: string
  readonly to: string
  /** The release is there, with more of it (pods, tasks) than it had: going back would only take some away. */
  readonly fewer?: true
  /** All that would be done is to follow what goes to the release by itself. How that stands is in `unwell`. */
  readonly coming?: true
}

export interface Need {
  readonly of: ComponentId
  readonly what: NeedWhat
  readonly by: ComponentId
}

export type Node = { readonly step: StepId } | GateNode | SeqNode | ParNode

export interface SeqNode {
  readonly seq: readonly Node[]
  /** More failures than this in all of it fail it, whatever each `par` in it allows by itself. */
  readonly maxFailures?: number
}

export interface ParNode {
  readonly par: readonly { readonly id: string; readonly after: readonly string[]; readonly node: Node }[]
  /** How many at the same time. */
  readonly limit: number
  /** More failures than this fail the node and start nothing new. */
  readonly maxFailures: number
}

export interface GateNode {
  /** Name of a gate in backout.yaml. */
  readonly gate: string
  /** Further gates that are asked at the same time; each must pass. */
  readonly with?: readonly string[]
  /** Milliseconds that the gate must go on passing; 0 = pass once. */
  readonly forMs: number
  readonly onFail: { readonly apply: readonly StepId[]; readonly then: 'ask' | 'next-rung' | 'stop' }
}

/** The smallest journalled effect on one target. */
export interface Step {
  /** Unique in the plan: `<component>/<verb>` or `<component>/<verb>/<target>`. */
  readonly id: StepId
  readonly component: ComponentId
  /** For people: "switch web-3 to v1.2.9". */
  readonly title: string
  /** All that apply and verify need besides the settings. No secrets. */
  readonly args: Json
  readonly limitMs: number
  /** How often it is applied again after a failure that left nothing behind. */
  readonly retries: number
  readonly estimateMs: number
  /** `repeat` is for what is harmless twice; `fence` keeps the target from users and counts as a failure. */
  readonly onUnknown: 'ask' | 'repeat' | 'fence'
  /** The step asks again what would be lost, right before; above what was accepted the run waits for an approval. */
  readonly recheck?: boolean
  /** It cannot be undone. Said in the plan, and a backup must stand before it. */
  readonly destructive?: boolean
  /**
   * It puts a backup in the place of this data: all that was written since that ISO time goes with it, which a person confirms
   * by a word of its own.
   */
  readonly rewinds?: { readonly what: string; readonly since: string }
  /** Its effect outlives the run until a person lifts it: `backout status` asks the target whether it is still there. */
  readonly lasts?: boolean
  /**
   * It brings about for others what only a step with the same word in `ends` takes back, and `observe` cannot tell whether that
   * was done: where a run ends in between, later plans are told of it (`left` of the question).
   */
  readonly begins?: NeedWhat
  readonly ends?: NeedWhat
}

export type Verdict =
  /** The effect is there. */
  | { readonly is: 'done'; readonly why: string }
  /** It is not there, and nothing that was begun earlier is still alive. */
  | { readonly is: 'not-done'; readonly why: string }
  /** Something begun earlier is still at it: follow, never apply again. */
  | { readonly is: 'running'; readonly why: string }
  /** The target cannot say. `unheard`: nothing answered at all; it is asked again for a while, for it may be starting anew. */
  | { readonly is: 'unknown'; readonly why: string; readonly unheard?: true }

export interface StandsOn {
  /**
   * `left`: on what the plan left, or somewhere between that and the release. `other`: on something else that somebody has
   * put there since.
   */
  readonly is: 'release' | 'left' | 'other' | 'unknown'
  readonly why: string
}

export interface Finding {
  readonly level: 'blocker' | 'warning' | 'note'
  /** Stable name in snake_case. */
  readonly code: string
  readonly component: ComponentId | null
  readonly what: string
  /** What to do about it. Never empty for a blocker. */
  readonly remedy: string
  /** It is about what moves by itself and decides nothing, such as a clock: no part of the plan's hash. Never of a blocker. */
  readonly moves?: boolean
}

export interface Impact {
  /** Expected time in which users are not served. */
  readonly downtimeMs: number
  readonly loss: readonly Loss[]
  /** What the release added and going back leaves there: tables, columns, files. */
  readonly staysBehind: readonly string[]
  /** What users or operators will miss: functions, security fixes. */
  readonly disappears: readonly string[]
}

/** Data that going back destroys. */
export interface Loss {
  /** Names the data; compared with what was accepted: "orders.discount". */
  readonly what: string
  readonly count: number
  /** "values", "rows", "tables". */
  readonly unit: string
  /** ISO time since when it was written, when known. */
  readonly since: string | null
  /** "kept in the pre-rollback backup; not brought back by itself". */
  readonly note: string
  /** Whose it is; the planner says it, so that two databases with the same tables are told apart. */
  readonly component?: ComponentId
}

/** What every act is given. */
interface BaseAct {
  readonly signal: AbortSignal
  readonly vault: Vault
  readonly backups: BackupStore
  /** Says how far it is. For people only, not durable. */
  progress(p: Progress): void
}

export interface Progress {
  readonly text: string
  readonly done?: number
  readonly total?: number
}

export interface CaptureAct extends BaseAct {
  readonly purpose: 'release' | 'departure'
  /** The release that is captured. */
  readonly release: string
}

export interface MigratedAct extends BaseAct {
  /** The release that was migrated to. */
  readonly release: string
  /** Id of the upgrade. */
  readonly upgrade: string
  /** The deployment says that no user could write since `upgrade begin`. */
  readonly usersAway: boolean
  /** What the deployment says that the migrations wrote, of this component; left out: it says nothing. */
  readonly wrote?: readonly string[]
}

export interface CompareQuestion<Pin> extends BaseAct {
  readonly to: Pin
  /** How many differing rows are wanted of each part; 0: counts only. */
  readonly rows: number
  /** Values are shown as they are; else what could be private is masked. */
  readonly values: boolean
}

/** What differs from a capture. */
export interface Compared {
  /** How things are built, one line a difference. */
  readonly shape: readonly string[]
  /** Parts whose content differs: tables. Those that are the same are left out. */
  readonly parts: readonly ComparedPart[]
  /** What could not be compared, and why. */
  readonly notes: readonly string[]
}

export interface ComparedPart {
  readonly name: string
  /** Rows then and now; null: it is not there. */
  readonly then: number | null
  readonly now: number | null
  /** Columns whose content differs. */
  readonly columns: readonly string[]
  /** Counted row by row; null: that was not asked, or cannot be done. */
  readonly exact: { readonly added: number; readonly deleted: number; readonly changed: number } | null
  readonly rows: readonly ComparedRow[]
}

export interface ComparedRow {
  readonly is: 'added' | 'deleted' | 'changed'
  /** What the row is known by, for people: "id = 17". */
  readonly key: string
  readonly cells: readonly { readonly column: string; readonly then: string | null; readonly now: string | null }[]
}

export interface ExecAct extends BaseAct {
  /** Marks the effect where the target can keep it, so that an orphan is found. Safe in file names: [A-Za-z0-9._-]. */
  readonly idem: string
  /** Throws when this process may no longer own the run. Call right before each write. */
  guard(): void
  readonly env?: Readonly<Record<string, string>>
  readonly limitMs?: number
  /**
   * Name of the release that the run goes back to. What an adapter has marked as left is what is left now only where it was
   * left for this release: after an earlier run to another one, what that brought is what is left.
   */
  readonly release?: string
}

export interface StepAct extends ExecAct {
  /** 1 for the first application of this step in this run. */
  readonly attempt: number
  /** What `note` kept, from an earlier process or attempt too. */
  readonly handle: Json | null
  /** Keeps a handle durably, as it is: job key, invalidation id, unit name; never a secret. Resolves once it is on disk. */
  note(handle: Json): Promise<void>
  /**
   * `handle` was noted when the run did this step before, in another pass or plan: what it says has come to its end may
   * have been undone since, by this run or by somebody else.
   */
  readonly earlier: boolean
  /**
   * The backup of this component that the run made before it changed anything: the first one with the reason
   * `pre-rollback` that was begun with an act's `idem`, by whatever step, plan or process of this run. null: none yet.
   */
  preRollback(): Promise<Backup | null>
  /** True where the accepted loss covers this: a step with `recheck` asks it right before it destroys. */
  accepts(loss: readonly Loss[]): boolean
  /** Puts a fact into the journal and the report: what exactly was lost, kept or found. */
  tell(fact: Fact): Promise<void>
  /** Runs a command from another component's artefact; that component must have served the need `exec-from`. */
  exec(
    component: ComponentId,
    side: 'from' | 'to',
    argv: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<ExecResult>
  /** What this step began in another component by `exec`, and is there still; null: nothing that anybody can find. */
  execLeft(component: ComponentId): Promise<ExecLeft | null>
}

export interface Fact {
  readonly kind: 'lost' | 'kept' | 'side-effect' | 'note'
  readonly text: string
  readonly data?: Json
}

export interface ExecResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface ExecLeft {
  /** For people: "the Job backout-1f0c". */
  readonly what: string
  readonly alive: boolean
  /** How it ended; null: it has not, or nobody can tell. */
  readonly code: number | null
  /** The command by which a person ends it before that, where there is one. */
  readonly endedBy?: string
}

/** Encrypted content. A pin holds the reference, never the content. */
export interface Vault {
  seal(content: Uint8Array, about: string): Promise<Sealed>
  /** Throws where the content is gone or was altered. */
  open(sealed: Sealed): Promise<Uint8Array>
  /** Keyed hash: equal content has an equal mac, and short secrets cannot be guessed from it. */
  mac(content: Uint8Array): string
}

export interface Sealed {
  readonly id: string
  readonly mac: string
}

/** Catalogue of backups. A folder without a manifest is no backup. */
export interface BackupStore {
  /** A new folder to write into; not a backup until sealed. */
  begin(about: BackupAbout): Promise<BackupDraft>
  /** Throws where there is none of that id. Does not read the content: see `check`. */
  get(id: string): Promise<Backup>
  /** The newest first. */
  list(component: ComponentId): Promise<Backup[]>
  /**
   * Reads every file and compares with the manifest. An empty answer means intact, and that all files are in `dir`: those
   * that lie elsewhere are brought there.
   */
  check(id: string, signal?: AbortSignal): Promise<string[]>
  /** The same, but what lies elsewhere stays there: it is only asked for whether it is there and was not written anew. */
  look(id: string, signal?: AbortSignal): Promise<string[]>
  recordProof(id: string, proof: Proof): Promise<Backup>
}

export interface BackupAbout {
  readonly component: ComponentId
  /** `migrated`: right after an upgrade's migrations; no way back, but what a carry-forward compares with. */
  readonly reason: 'capture' | 'pre-rollback' | 'migrated'
  /** The release that the content belongs to. */
  readonly release: string | null
  /**
   * Makes beginning the same backup again find it (complete or not) instead of making a second. A step gives its own
   * (`act.idem`): by it other steps of the run find the backup (`act.preRollback()`).
   */
  readonly idem?: string
}

export interface BackupDraft {
  readonly id: string
  /** Absolute path of an empty folder. */
  readonly dir: string
  /** Checksums all files, writes the manifest, syncs. From then on it is a backup. */
  seal(facts: Json): Promise<Backup>
  discard(): Promise<void>
}

export interface Backup {
  /** Time-stamped: `20260102T030405Z-<component>-<6 hex>`. */
  readonly id: string
  /** Absolute path. */
  readonly dir: string
  readonly component: ComponentId
  readonly reason: BackupAbout['reason']
  readonly release: string | null
  readonly idem: string | null
  readonly createdAt: string
  readonly bytes: number
  readonly files: readonly { path: string; bytes: number; sha256: string }[]
  /** Path -> what the storage elsewhere says of its copy. Left out: there is none, the files lie in `dir`. */
  readonly held?: Readonly<Record<string, string>>
  readonly facts: Json
  /** null: unproven. */
  readonly proof: Proof | null
}

/** What restoring it into a scratch place showed. */
export interface Proof {
  readonly at: string
  readonly ms: number
  readonly ok: boolean
  readonly differences: readonly string[]
}

export const NO_IMPACT: Impact = { downtimeMs: 0, loss: [], staysBehind: [], disappears: [] }

/** A proposal to do nothing, to be spread and filled in. */
export const NOTHING: Proposal = {
  change: null,
  findings: [],
  impact: NO_IMPACT,
  needs: [],
  serves: [],
  steps: [],
  phases: {},
  safe: [],
  omits: [],
}
