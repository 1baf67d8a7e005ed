import type { Reporter, TestModule } from 'vitest/node'

/** Ends the run with one plain line. In CI a skipped test is a failure: there everything must have been tried. */
export default class PlainReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const tests = modules.flatMap(module => [...module.children.allTests()])
    const count = (state: string) => tests.filter(test => test.result().state === state).length
    const broken =
      modules.filter(module => module.state() === 'failed' && module.errors().length > 0).length + errors.length
    const skipped = count('skipped')
    const failed = count('failed') + broken
    if (process.env['CI'] === 'true' && skipped > 0) {
      process.exitCode = 1
      for (const test of tests.filter(t => t.result().state === 'skipped')) {
        process.stdout.write(`skipped, which CI does not allow: ${test.module.relativeModuleId} > ${test.fullName}\n`)
      }
    }
    for (const test of tests.filter(t => t.diagnostic()?.flaky === true)) {
      process.stdout.write(`passed only when tried again: ${test.module.relativeModuleId} > ${test.fullName}\n`)
    }
    setImmediate(() => process.stdout.write(`\n${count('passed')} passed, ${failed} failed, ${skipped} skipped\n`))
  }
}
