'use strict';
// The command line of the programs here. The Rust labs have clap for it. Node
// has `parseArgs`, which knows flags, but not what their values mean.

const path = require('node:path');
const { parseArgs } = require('node:util');

// A flag with a value: what the value is called in the help, what makes it of
// the text, and what it is when it is not given.
function flag(value, parse, help, preset) {
  return { type: 'string', value, parse, help, default: preset };
}

// Flags that every program has.
const COMMON = {
  verbose: {
    type: 'boolean',
    short: 'v',
    help: "As in the Rust lab; Node's own log is NODE_DEBUG=net",
  },
  help: { type: 'boolean', short: 'h', help: 'Print help' },
};

// Returns the values by name, or ends the program with help or an error. Where
// a program takes operands, `operand` is what one is called in the help, and
// they come as `operands`.
function parseFlags(about, example, own, operand) {
  const options = { ...own, ...COMMON };
  let flags;
  try {
    const allowPositionals = operand !== undefined;
    const parsed = parseArgs({ options, allowPositionals });
    flags = { ...parsed.values, operands: parsed.positionals };
  } catch (error) {
    // "Unknown option '--x'. To specify a …": the first sentence is enough.
    misuse(error.message.split('. ')[0]);
  }
  if (flags.help) {
    process.stdout.write(helpText(about, example, options, operand));
    process.exit(0);
  }
  for (const [name, { value, parse }] of Object.entries(own)) {
    const text = flags[name];
    if (text === undefined) continue;
    try {
      flags[name] = parse(text);
    } catch ({ message }) {
      misuse(`invalid value '${text}' for '--${name} <${value}>': ${message}`);
    }
  }
  return flags;
}

function helpText(about, example, options, operand) {
  const command = `node tests/node/${path.basename(process.argv[1])}`;
  const lines = Object.entries(options).map(([name, option]) => {
    const short = option.short ? `-${option.short}, ` : '    ';
    const left = `  ${short}--${name} ${option.value ?? ''}`;
    const preset = option.default ? ` [default: ${option.default}]` : '';
    return `${left.padEnd(30)} ${option.help}${preset}\n`;
  });
  const operands = operand ? ` [${operand}]...` : '';
  return `${about}\n\nUsage: ${command} [OPTIONS]${operands}\n\n` +
    `Options:\n${lines.join('')}\nExample: ${command} ${example}\n`;
}

function misuse(what) {
  console.error(`error: ${what}\n\nFor more information, try '--help'.`);
  process.exit(2);
}

// `[::1]:8080` becomes the host and the port that `listen` and `connect` take.
function hostPort(text) {
  const form = 'write it as HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080';
  const parts = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(text);
  if (!parts) throw new Error(form);
  const [, bracketed, plain, port] = parts;
  if (port > 65535) {
    throw new Error(`a port is a number from 0 to 65535; ${form}`);
  }
  return { host: bracketed ?? plain, port: Number(port), text };
}

function numberUpTo(most) {
  return (text) => {
    if (/^\d+$/.test(text) && text >= 1 && text <= most) return Number(text);
    throw new Error(`a number from 1 to ${most} is wanted`);
  };
}

function oneOf(...words) {
  return (text) => {
    if (words.includes(text)) return text;
    throw new Error(`one of these is wanted: ${words.join(', ')}`);
  };
}

// `250ms`, `5s` and `2m` become milliseconds, which all timers of Node take.
function time(text) {
  const [, number, unit] = /^(\d+)(ms|s|m)$/.exec(text) ?? [];
  if (!unit) throw new Error('write it as 250ms, 5s or 2m');
  return number * { ms: 1, s: 1000, m: 60_000 }[unit];
}

// `500B`, `16KB` (16,000), `16KiB` (16,384) and `8MB` become bytes.
function size(least, most) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  return (text) => {
    const [, number, prefix, i] = /^(\d+)([KMGT]?)(i?)B?$/.exec(text) ?? [];
    const power = units.indexOf(`${prefix}B`);
    const bytes = number * (i ? 1024 : 1000) ** power;
    if (bytes >= least && bytes <= most) return bytes;
    throw new Error(`from ${least} to ${most} bytes, as 500B, 16KB or 16KiB`);
  };
}

module.exports = {
  flag, hostPort, misuse, numberUpTo, oneOf, parseFlags, size, time,
};
