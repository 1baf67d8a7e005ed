import { join } from 'node:path'
import type { Command } from 'commander'
import { expect, it } from 'vitest'
import { build } from '../../src/cli/program.ts'

function helpOf(command: Command, path: string): string[] {
  let shown = ''
  const writeOut = (text: string) => void (shown += text)
  command.configureHelp({ ...command.configureHelp(), helpWidth: 80 })
  command.configureOutput({ getOutHasColors: () => false, writeOut })
  command.outputHelp()
  const inner = command.commands.flatMap(c => helpOf(c, `${path} ${c.name()}`))
  return [`$ ${path} --help\n${shown}`, ...inner]
}

it('says what it said before: every change of the command line is seen and committed', async () => {
  const program = build(async () => {})
  const text = helpOf(program, 'backout').join('\n')
  await expect(text).toMatchFileSnapshot(join(import.meta.dirname, 'help.txt'))
})
