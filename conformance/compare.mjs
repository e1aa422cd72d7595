// Compares the results of a run with those expected, test by test, and counts them as
// the suite does: a test whose dependency failed is no pass.
//
// usage: compare.mjs PACKAGE RESULTS [EXPECTED [--update]]
//
// Without EXPECTED it names what failed. Tests for browsers and for content delivery
// networks do not count.
import fs from 'node:fs'
import { pathToFileURL } from 'node:url'

const [suite, resultsFile, expectedFile, update] = process.argv.slice(2)
const load = async name => (await import(pathToFileURL(`${suite}/tests/${name}.mjs`))).default
const sets = await load('index') // without Surrogate-Control, which is for content delivery networks
const results = JSON.parse(fs.readFileSync(resultsFile))

const counts = {}
const found = {}
for (const test of sets.flatMap(set => set.tests)) {
  if (test.browser_only || test.cdn_only) continue
  const kind = test.kind ?? 'required'
  const blocked = (test.depends_on ?? []).some(id => results[id] !== true)
  const outcome = results[test.id] !== true ? 'fail' : blocked ? 'blocked' : 'pass'
  counts[kind] ??= { pass: 0, of: 0 }
  counts[kind].of++
  if (outcome === 'pass') counts[kind].pass++
  // A check asks how a cache behaves and has no right answer.
  if (kind !== 'check') found[test.id] = outcome
}
for (const kind of ['required', 'optimal', 'check']) {
  console.log(`${kind}: ${counts[kind].pass} of ${counts[kind].of}`)
}

if (!expectedFile) {
  for (const [id, outcome] of Object.entries(found)) {
    if (outcome !== 'pass') console.log(`${id}: ${outcome} ${JSON.stringify(results[id])}`)
  }
  process.exit(0)
}
const sorted = Object.fromEntries(Object.keys(found).sort().map(id => [id, found[id]]))
if (update === '--update') {
  fs.writeFileSync(expectedFile, JSON.stringify(sorted, null, 2) + '\n')
  process.exit(0)
}
const expected = JSON.parse(fs.readFileSync(expectedFile))
let different = 0
for (const id of new Set([...Object.keys(expected), ...Object.keys(sorted)])) {
  if (expected[id] === sorted[id]) continue
  different++
  console.log(`${id}: ${sorted[id] ?? 'gone'}, expected ${expected[id] ?? 'nothing'} ${JSON.stringify(results[id])}`)
}
process.exit(different ? 1 : 0)
