'use strict';
// Write faster than the client reads, and hear when to wait.
//
//   terminal 1   node tests/node/backpressure.js
//   terminal 2   nc 127.0.0.1 8080 < /dev/null | less
//
// The same program in Rust is labs/backpressure: same flags, same story. `less`
// stops reading when its page is full. Press the space bar, then G, and watch
// terminal 1. Then, in `send`, ignore what `write` answers, and offer
// `--size 1GB`: all of it waits in memory.

const fs = require('node:fs');
const net = require('node:net');
const { Readable } = require('node:stream');
const {
  fail, reason, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, parseFlags, size } = require('./flags.js');

const MEMORY = size(1, 16 * 1024 ** 2);

const flags = parseFlags(
  'Write faster than the client reads, and hear when to wait.',
  '--file Cargo.lock --chunk 1KiB',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    file: flag('PATH', String, 'Send this file'),
    size: flag('SIZE', size(0, 1e12), 'Send so many made-up bytes', '8MB'),
    chunk: flag('SIZE', MEMORY, 'How much one write brings', '16KiB'),
    'high-water-mark': flag(
      'SIZE', MEMORY, 'When so much waits, a write answers: wait', '16KiB',
    ),
    'send-buffer': flag('SIZE', MEMORY, 'Cannot be set in Node'),
  },
);
if (flags['send-buffer']) {
  console.error('warning: Node has no call that sets SO_SNDBUF');
}

// With `allowHalfOpen: false` Node calls `end()` as soon as the client has
// ended, and what is not written by then is never written.
const server = net.createServer({
  allowHalfOpen: true,
  highWaterMark: flags['high-water-mark'],
});
const sockets = new Set();

server.on('listening', () => {
  const { address, port } = server.address();
  story(`listening on ${showAddress(address, port)}`);
  warnUnlessLoopback({ address, port });
});
server.on('connection', talk);
server.on('error', (error) => serverFailed(error, flags.listen));

whenAskedToEnd(() => {
  server.close();
  // What waits in the queue is dropped.
  for (const socket of sockets) socket.destroy();
});

const total = flags.file === undefined ? flags.size : sizeOfFile(flags.file);
if (total !== undefined) {
  const { host, port } = flags.listen;
  server.listen({ host, port });
}

// Finds now what would be wrong later: then it would be the first client who
// learns that there is no such file.
function sizeOfFile(file) {
  try {
    const stats = fs.statSync(file);
    if (!stats.isFile() && !stats.isDirectory()) {
      console.error(`error: cannot send ${file}: it is not an ordinary file`);
      process.exitCode = 1;
      return undefined;
    }
    // A directory can be opened, and fails when it is read: EISDIR.
    const descriptor = fs.openSync(file);
    fs.readSync(descriptor, Buffer.alloc(1));
    fs.closeSync(descriptor);
    return stats.size;
  } catch (error) {
    fail(`cannot read ${file}`, error);
    return undefined;
  }
}

// One client, from its coming to its going.
function talk(socket) {
  sockets.add(socket);
  const peer = showAddress(socket.remoteAddress, socket.remotePort);
  story(`${peer} connected`);

  // What the client sends is read and dropped. Its 'end' comes this way.
  socket.resume();
  const source = send(socket, peer);

  let failure;
  socket.on('error', (error) => {
    failure = error;
  });

  socket.on('close', () => {
    sockets.delete(socket);
    source.destroy();
    const why = failure ? ` with an error: ${what(failure)}` : '';
    story(`${peer} closed${why}`);
  });
}

// What the system says of an error, or what we say ourselves.
function what(error) {
  return error.code ? reason(error) : error.message;
}

// Writes chunk after chunk, and waits when `write` says so. All this is
// `source.pipe(socket)`, but for the story.
function send(socket, peer) {
  const greeting = Buffer.from(`welcome, ${total} bytes follow\r\n`);
  socket.write(greeting);
  const written = () => socket.bytesWritten - greeting.length;
  const writes = new Writes(peer);

  const source = flags.file === undefined ? madeUp() : openFile();
  source.on('data', (chunk) => {
    const goesOn = socket.write(chunk);
    writes.tell(goesOn, socket.writableLength, written());
    if (!goesOn) source.pause();
  });
  socket.on('drain', () => {
    story(`${peer} drain`);
    source.resume();
  });
  source.on('end', () => {
    writes.tellRest();
    if (written() < total) {
      // In order, behind all that was written; and told as an error.
      const error = new Error('unexpected end of file');
      socket.end(() => socket.destroy(error));
      return;
    }
    socket.end(() => story(`${peer} finish, ${written()} written`));
  });
  source.on('error', (error) => socket.destroy(error));
  return source;
}

// The file as long as it was when its size was announced.
function openFile() {
  if (total === 0) return Readable.from([]);
  const highWaterMark = flags.chunk;
  return fs.createReadStream(flags.file, { highWaterMark, end: total - 1 });
}

// Lines of sixteen bytes, each with its number: what is lost or doubled shows.
function madeUp() {
  const lines = (from, to) => {
    let text = '';
    for (let line = from; line <= to; line += 1) {
      text += `${String(line).padStart(15)}\n`;
    }
    return Buffer.from(text);
  };
  function* chunks() {
    for (let at = 0; at < total; at += flags.chunk) {
      const end = Math.min(at + flags.chunk, total);
      const first = Math.floor(at / 16);
      const whole = lines(first + 1, Math.ceil(end / 16));
      yield whole.subarray(at - first * 16, end - first * 16);
    }
  }
  return Readable.from(chunks(), { highWaterMark: 1 });
}

// Tells of each write. Those that left nothing waiting share a line.
class Writes {
  #peer;
  #number = 0;
  #told = 0;
  #written = 0;

  constructor(peer) {
    this.#peer = peer;
  }

  tell(goesOn, waiting, written) {
    if (waiting > 0 || !goesOn) {
      this.tellRest();
      this.#told = this.#number + 1;
      story(`${this.#peer} write ${this.#told} returned ${goesOn}, ${waiting} ` +
        `bytes waiting, ${written} written`);
    }
    this.#number += 1;
    this.#written = written;
  }

  tellRest() {
    const last = this.#number;
    const first = this.#told + 1;
    if (last < first) return;
    const which = first === last ? `write ${last}` : `writes ${first} to ${last}`;
    story(`${this.#peer} ${which} returned true, 0 bytes waiting, ` +
      `${this.#written} written`);
    this.#told = last;
  }
}
