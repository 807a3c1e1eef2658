// Runs the scenario in Node or Deno: client_program.mjs CLIENT, the arguments as JSON in SCENARIO.
import { scenario } from './client_scenario.js'

const argv = globalThis.Deno ? Deno.args : process.argv.slice(2)
const given = globalThis.Deno ? Deno.env.get('SCENARIO') : process.env.SCENARIO
console.log(JSON.stringify(await scenario(await import(argv[0]), JSON.parse(given))))
