'use strict';
// Pipe what clients send into one file that stays open.
//
//   terminal 1   node tests/node/pipe-to-file.js
//   terminal 2   tail -f msg.txt
//   terminal 3   nc 127.0.0.1 8080      (or: telnet 127.0.0.1 8080)
//
// The same program in Rust is labs/pipe-to-file: same flags, same story. Then,
// in `pipe`, take `{ end: false }` away, as it is in the first of the notes,
// and connect twice. When the first client ends, the second is frozen.

const fs = require('node:fs');
const net = require('node:net');
const {
  fail, reason, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, parseFlags, time } = require('./flags.js');

const flags = parseFlags(
  'Pipe what clients send into one file that stays open.',
  '--end-text over --append',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    file: flag('PATH', String, 'Where to write what clients send', 'msg.txt'),
    append: {
      type: 'boolean',
      help: 'Keep what is in the file, and write behind it',
    },
    'unpipe-after': flag(
      'TIME', time, 'Drop what a client sends later than this',
    ),
    'end-text': flag(
      'TEXT', String, 'Write this when a client ends, or is unpiped', '',
    ),
  },
);

// What is written goes to the end of the file, wherever that is by then.
function open() {
  if (fs.existsSync(flags.file) && fs.statSync(flags.file).isFIFO()) {
    console.error(`error: cannot write to ${flags.file}: it is a FIFO, which ` +
      'keeps nothing; name another file');
    process.exit(1);
  }
  try {
    return fs.openSync(flags.file, 'a');
  } catch (error) {
    fail(`cannot write to ${flags.file}`, error);
    process.exit();
  }
}
