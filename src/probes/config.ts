import { z } from 'zod'
import { command, duration, text } from '../config/fields.ts'
import { regex, wantedJson, wantedValue } from './expect.ts'

/** The settings of every kind of probe. What is said here is the reference. */

const status = z.int().min(100).max(599)
const range = z.string().regex(/^([1-5]xx|\d{3}-\d{3})$/, 'expected "2xx" or "200-299"')
const percent = z.number().min(0).max(1)
const time = duration()

const httpExpect = z.strictObject({
  status: z
    .union([status, range, z.array(z.union([status, range])).min(1)])
    .default('2xx')
    .describe('the status that counts as healthy: 200, "2xx", "200-299", or a list of those'),
  bodyContains: text().optional().describe('a text that the body holds'),
  bodyMatches: regex().optional().describe('a regular expression that finds something in the body'),
  json: wantedJson()
    .optional()
    .describe('JSON pointers into the body and what each leads to: a value, or {equals, min, max, matches}'),
})

const latency = z
  .strictObject({
    p50: time.optional().describe('half of the requests are answered within this'),
    p95: time.optional().describe('95 % of the requests are answered within this'),
    p99: time.optional().describe('99 % of the requests are answered within this'),
    max: time.optional().describe('the slowest request is answered within this'),
  })
  .describe('limits for the time until the whole answer is read, connecting included')

const httpProbe = z
  .strictObject({
    kind: z.literal('http'),
    url: text().describe('what is asked; http or https'),
    method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'OPTIONS']).default('GET').describe('the HTTP method'),
    headers: z.record(z.string(), text()).default({}).describe('headers sent along; may hold secrets'),
    body: text().optional().describe('the body sent along'),
    timeout: duration().default(5000).describe('how long one request may take in all'),
    follow: z
      .int()
      .min(0)
      .max(20)
      .optional()
      .describe('how many redirects are followed; without it a redirect is the answer'),
    ca: z.string().optional().describe('file with the certificate authorities to trust, in place of the usual ones'),
    expect: httpExpect.prefault({}).describe('what makes an answer healthy'),
    samples: z.int().min(1).max(10_000).default(1).describe('how many requests make one measurement'),
    concurrency: z.int().min(1).max(50).default(1).describe('how many of them at the same time'),
    latency: latency.optional(),
    errorRate: percent.default(0).describe('the part of the requests that may fail, from 0 to 1'),
  })
  .refine(p => p.follow === undefined || p.method === 'GET' || p.method === 'HEAD', {
    message: 'redirects are followed for GET and HEAD only',
    path: ['follow'],
  })

const commandProbe = z.strictObject({
  kind: z.literal('command'),
  run: command().describe('a list of words run as it is, or one line for sh -c'),
  cwd: z
    .string()
    .optional()
    .describe('the folder to run it in, relative to backout.yaml; that of backout.yaml by default'),
  env: z.record(z.string(), text()).default({}).describe('added to the environment; may hold secrets'),
  timeout: duration().default(60_000).describe('how long it may take; then it is ended, which is inconclusive'),
  inconclusive: z
    .array(z.int().min(1).max(255))
    .default([])
    .describe('exit codes by which the command says that it could not measure'),
  expect: z
    .strictObject({
      exit: z
        .union([z.int().min(0).max(255), z.array(z.int().min(0).max(255)).min(1)])
        .default(0)
        .describe('the exit code, or codes, that count as healthy'),
      stdoutMatches: regex().optional().describe('a regular expression that finds something in the standard output'),
      json: wantedJson()
        .optional()
        .describe(
          'JSON pointers into the standard output and what each leads to: a value, or {equals, min, max, matches}',
        ),
    })
    .prefault({})
    .describe('what makes a run healthy'),
})

const sqliteProbe = z.strictObject({
  kind: z.literal('sqlite'),
  path: z.string().describe('the database file, relative to backout.yaml; opened for reading only'),
  query: text().describe('one statement that only reads; the first column of its first row is the value'),
  timeout: duration().default(5000).describe('how long it may take; then it is ended, which is inconclusive'),
  expect: z
    .strictObject({
      value: wantedValue().optional().describe('the value: itself, or {equals, min, max, matches}'),
      rows: wantedValue().optional().describe('how many rows: a number, or {min, max}; counted up to 10,000'),
    })
    .refine(e => e.value !== undefined || e.rows !== undefined, 'say what is expected: value, rows or both')
    .describe('what makes the answer healthy'),
})

/** `probes:` of backout.yaml, one entry. */
export const probeConfig = z.discriminatedUnion('kind', [httpProbe, commandProbe, sqliteProbe])

export type ProbeConfig = z.infer<typeof probeConfig>
export type HttpProbe = z.infer<typeof httpProbe>
export type CommandProbe = z.infer<typeof commandProbe>
export type SqliteProbe = z.infer<typeof sqliteProbe>
