'use strict';
// Notice a silent connection, and decide what to do about it.
//
//   terminal 1   node tests/node/timeout.js
//   terminal 2   telnet 127.0.0.1 8080
//
// The same program in Rust is labs/timeout: same flags, same story. Type a line
// in terminal 2, and wait five seconds: only then is it read, and goes to
// msg.txt. Then, in `ways.pipe`, let every timeout pipe and not only the first,
// as in the notes. Type more lines, and look at the file.

const fs = require('node:fs');
const net = require('node:net');
const {
  fail, reason, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, oneOf, parseFlags, time } = require('./flags.js');

// The timers of Node hold 31 bits of milliseconds. More is cut to that, with a
// warning.
function idleTime(text) {
  const milliseconds = text === '0' ? 0 : time(text);
  if (milliseconds < 2 ** 31) return { milliseconds, text };
  throw new Error('24 days is the most');
}

const flags = parseFlags(
  'Notice a silent connection, and decide what to do about it.',
  '--idle 2s --then end',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    idle: flag(
      'TIME', idleTime,
      'How long nothing must happen; 0 for never', '5s',
    ),
    then: flag(
      'WHAT', oneOf('pipe', 'end', 'destroy', 'nothing'),
      'What to do about an idle connection', 'pipe',
    ),
    file: flag(
      'PATH', String,
      'Where `--then pipe` writes; what was in it is lost', 'msg.txt',
    ),
  },
);
const piping = flags.then === 'pipe';

// A `pause()` in the 'connection' handler comes too late: Node has begun to
// read, and one buffer full arrives all the same.
const server = net.createServer({ pauseOnConnect: piping });
const sockets = new Set();
let file;

server.on('listening', () => {
  const { address, port } = server.address();
  story(`listening on ${showAddress(address, port)}`);
  warnUnlessLoopback({ address, port });
});
server.on('connection', talk);
server.on('error', (error) => {
  serverFailed(error, flags.listen);
  if (!server.listening) file?.end();
});

const { host, port } = flags.listen;
if (piping) {
  // Opened before any client comes, so that none learns it first.
  file = fs.createWriteStream(flags.file);
  file.on('open', () => server.listen({ host, port }));
  file.on('error', (error) => {
    fail(`cannot write to ${flags.file}`, error);
    stop();
  });
} else {
  server.listen({ host, port });
}

whenAskedToEnd(stop);

function stop() {
  server.close();
  for (const socket of sockets) socket.destroy();
}

// What each `--then` does.
const ways = {
  pipe(socket, tellRead, isFirst) {
    if (!isFirst) return;
    socket.on('data', tellRead);
    // The file is for all clients: it stays open when one of them ends.
    socket.pipe(file, { end: false });
  },
  end(socket) {
    // What it still sends is read and dropped: after `end()`, a `write` would
    // be an error.
    socket.removeAllListeners('data');
    socket.removeAllListeners('drain');
    socket.resume();
    // No limit from here on. `end()` waits as long as the client does.
    socket.setTimeout(0);
    socket.end();
  },
  destroy(socket) {
    socket.destroy();
  },
  nothing() {},
};

// One client, from its coming to its going.
function talk(socket) {
  sockets.add(socket);
  const peer = showAddress(socket.remoteAddress, socket.remotePort);
  story(`${peer} connected`);
  socket.setTimeout(flags.idle.milliseconds);
  socket.write('welcome\r\n');

  const tellRead = (chunk) => story(`read ${chunk.length} bytes from ${peer}`);
  if (!piping) {
    socket.on('data', (chunk) => {
      tellRead(chunk);
      if (!socket.write(chunk)) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    });
  }

  // Only an event: the connection stays as it is, unless we do something.
  let times = 0;
  socket.on('timeout', () => {
    times += 1;
    story(`${peer} idle for ${flags.idle.text}`);
    ways[flags.then](socket, tellRead, times === 1);
  });

  let failure;
  socket.on('error', (error) => {
    failure = error;
  });

  socket.on('close', () => {
    sockets.delete(socket);
    const why = failure ? ` with an error: ${reason(failure)}` : '';
    story(`${peer} closed${why}`);
  });
}
