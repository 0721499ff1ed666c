#!/usr/bin/env node
import { runCli } from './run-cli.js';

// Input that nobody reads any more must not keep the process.
process.exit(await runCli(process.argv.slice(2)));
