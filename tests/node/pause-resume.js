'use strict';
// Pause each client, and see the kernel keep what it sends.
//
//   terminal 1   node tests/node/pause-resume.js
//   terminal 2   telnet 127.0.0.1 8080
//
// The same program in Rust is labs/pause-resume: same flags, same story, but
// for what the kernel holds, which Node cannot ask. Type lines in terminal 2:
// after ten seconds they go to msg.txt. Then, as in the notes, take
// `pauseOnConnect` away and call `socket.pause()` in `talk`. Type a line, and
// look at `ss -tn 'sport = :8080'`: the kernel holds nothing.

const fs = require('node:fs');
const net = require('node:net');
const {
  fail, reason, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, parseFlags, time } = require('./flags.js');

// A time that is not none and not for ever.
function limited(text) {
  const milliseconds = time(text);
  if (milliseconds >= 1 && milliseconds <= 3_600_000) {
    return { milliseconds, text };
  }
  throw new Error('write a time from 1ms to 60m, such as 500ms or 10s');
}

const flags = parseFlags(
  'Pause each client, and see the kernel keep what it sends.',
  '--pause 30s',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    pause: flag('TIME', limited, 'How long each client is paused', '10s'),
    file: flag(
      'PATH', String,
      'Where what arrives is written; what was in it is lost', 'msg.txt',
    ),
  },
);

// A `pause()` in the 'connection' handler comes too late: Node has begun to
// read, and one buffer full arrives all the same.
const server = net.createServer({ pauseOnConnect: true });
// What ends each client, when the program has been asked to end.
const stops = new Set();
let isEnding = false;

server.on('listening', () => {
  const { address, port } = server.address();
  story(`listening on ${showAddress(address, port)}`);
  warnUnlessLoopback({ address, port });
});
server.on('connection', talk);
server.on('error', (error) => {
  serverFailed(error, flags.listen);
  if (!server.listening) file.end();
});

// Opened before any client comes, so that none learns it first.
const file = fs.createWriteStream(flags.file);
file.on('open', () => {
  const { host, port } = flags.listen;
  server.listen({ host, port });
});
file.on('error', (error) => {
  fail(`cannot write to ${flags.file}`, error);
  stop();
});

whenAskedToEnd(stop);

function stop() {
  isEnding = true;
  server.close();
  for (const end of stops) end();
}

// One client, from its coming to its going.
function talk(socket) {
  const peer = showAddress(socket.remoteAddress, socket.remotePort);
  story(`${peer} connected, paused for ${flags.pause.text}`);
  socket.write('welcome\r\n');

  let isPaused = true;
  const resume = () => {
    isPaused = false;
    socket.on('data', (chunk) => {
      story(`read ${chunk.length} bytes from ${peer}`);
    });
    // The file is for all clients: it stays open when one of them ends. `pipe`
    // resumes by itself, and pauses again when the file is slow.
    socket.pipe(file, { end: false });
  };
  const timer = setTimeout(() => {
    story(`${peer} resumed`);
    resume();
  }, flags.pause.milliseconds);

  // What the kernel has acknowledged, the client takes for delivered.
  const end = () => {
    clearTimeout(timer);
    if (isPaused) resume();
    endWhenRead(socket);
  };
  stops.add(end);
  if (isEnding) end();

  let failure;
  socket.on('error', (error) => {
    failure = error;
  });

  socket.on('close', () => {
    clearTimeout(timer);
    stops.delete(end);
    const why = failure ? ` with an error: ${reason(failure)}` : '';
    story(`${peer} closed after ${socket.bytesRead} bytes${why}`);
  });
}

// Ends when there is nothing more to read just now, or when that was more than
// a kernel holds: Node cannot ask how much it is.
function endWhenRead(socket) {
  const MOST = 4 * 1024 * 1024;
  const start = socket.bytesRead;
  let before = -1;
  const look = () => {
    const isQuiet = socket.bytesRead === before && !file.writableNeedDrain;
    if (isQuiet || file.destroyed || socket.bytesRead - start > MOST) {
      socket.destroySoon();
      return;
    }
    before = socket.bytesRead;
    setImmediate(look);
  };
  // Reading begins on a later turn of the loop than `resume`.
  setImmediate(() => setImmediate(look));
}
