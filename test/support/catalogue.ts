/** The adapters and probes that there are, for tests of parts that may not import them. */
export { catalogue } from '../../src/cli/wiring/environment.ts'
