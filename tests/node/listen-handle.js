'use strict';
// Serve on a listener that somebody else has opened, and hand it on.
//
//   terminal 1   systemd-socket-activate -l 127.0.0.1:8080 \
//                  node tests/node/listen-handle.js
//   terminal 2   telnet 127.0.0.1 8080
//
// The same program in Rust is labs/listen-handle: same flags, same story. That
// one also starts itself anew on SIGHUP. A Node program cannot become another
// program in its place (execve), so it dies of SIGHUP, as any does that does
// not handle it. Then run it with `LISTEN_FDS=1` and nothing at descriptor 3:
// what is there belongs to Node itself.

const net = require('node:net');
const {
  fail, quote, reason, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, parseFlags } = require('./flags.js');

// The first descriptor after stdin, stdout and stderr.
const FIRST = 3;

const flags = parseFlags(
  'Serve on a listener that somebody else has opened, and hand it on.',
  '--listen [::]:8080',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Where to listen when no listener is inherited; port 0 is any free one',
      '127.0.0.1:8080',
    ),
  },
);

const server = net.createServer(talk);
const sockets = new Set();
const inherited = isInherited();

server.on('listening', () => {
  const { address, port } = server.address();
  const how = inherited ? 'an inherited' : 'a new';
  // In one piece: `| head -1` is to see a server, and not one that ends because
  // nobody reads its second line.
  story(`listening on ${showAddress(address, port)}\n` +
    `process ${process.pid} serves on ${how} listener`);
  warnUnlessLoopback({ address, port });
});
server.on('error', (error) => {
  if (error.syscall === 'listen' && inherited) {
    fail(`cannot listen on descriptor ${FIRST}`, error);
  } else {
    serverFailed(error, flags.listen);
  }
});

whenAskedToEnd(() => {
  // Closes our descriptor. The listener lives on with whoever else has it open,
  // and so does its queue.
  server.close();
  for (const socket of sockets) socket.destroy();
});

const { host, port } = flags.listen;
if (inherited) {
  // Node makes the descriptor non-blocking, and calls listen(2) once more: of a
  // socket that did not listen, that makes one that does.
  server.listen({ fd: FIRST });
} else if (process.exitCode === undefined) {
  server.listen({ host, port });
}

// Whether a parent says that it has left a listener open for us. Node knows
// nothing of this protocol, sd_listen_fds(3).
function isInherited() {
  const { LISTEN_FDS: count = '', LISTEN_PID: pid = '' } = process.env;
  delete process.env.LISTEN_FDS;
  delete process.env.LISTEN_PID;
  // Variables pass to children's children, descriptors mostly do not.
  const isForUs = pid === '' || pid === String(process.pid);
  if (!isForUs || count === '' || count === '0') return false;
  if (count === '1') return true;
  const error = { errno: -22, code: 'EINVAL' };
  fail(`cannot use LISTEN_FDS=${quote(count)}`, error);
  return false;
}

// One client, from its greeting to its end.
function talk(socket) {
  sockets.add(socket);
  const peer = showAddress(socket.remoteAddress, socket.remotePort);
  story(`${peer} connected`);
  socket.write('welcome\r\n');

  socket.on('data', (chunk) => {
    if (!socket.write(chunk)) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  });

  let failure;
  socket.on('error', (error) => {
    failure = error;
  });

  socket.on('close', () => {
    sockets.delete(socket);
    const why = failure ? ` with an error: ${reason(failure)}` : '';
    story(`${peer} left${why}`);
  });
}
