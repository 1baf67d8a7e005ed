import { styleText } from 'node:util'

export function print(text = ''): void {
  process.stdout.write(`${text}\n`)
}

export function heading(text: string): void {
  print(`\n${styleText(['bold', 'cyan'], `— ${text}`)}`)
}

export function say(text: string): void {
  print(styleText('dim', text))
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
