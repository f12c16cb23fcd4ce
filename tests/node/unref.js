'use strict';
// What a program stays alive for: unref and ref.
//
//   terminal 1      node tests/node/unref.js
//   terminals 2-4   telnet 127.0.0.1 8080
//
// The same program in Rust is labs/unref: same flags, same story. Connect
// twice, and leave once with Ctrl-] and `quit`: from now on nobody stays for
// the listener. Connect again: it still listens. When the last one leaves, the
// program ends. Then take the call of `socket.end()` away, and leave by ending
// your side only: node -e "net.connect(8080, '127.0.0.1').end()" does that.

const net = require('node:net');
const {
  reason, serverFailed, showAddress, story, warnUnlessLoopback, whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, oneOf, parseFlags } = require('./flags.js');

const flags = parseFlags(
  'What a program stays alive for: unref and ref.',
  '--unref-at never',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    'unref-at': flag(
      'WHEN', oneOf('start', 'first-end', 'never'),
      'When to stop staying alive for the listener: start, first-end, never',
      'first-end',
    ),
  },
);

const server = net.createServer({ allowHalfOpen: true });
const sockets = new Set();
let isRefed = true;

server.on('listening', () => {
  const { address, port } = server.address();
  story(`listening on ${showAddress(address, port)}`);
  warnUnlessLoopback({ address, port });
  // Only now: a server that does not listen yet has no handle to unref.
  if (flags['unref-at'] === 'start') unrefListener();
  // The loop has nothing left to wait for. The server is still open, and tells
  // no 'close'.
  process.once('beforeExit', () => story('nothing is left to stay for'));
});
server.on('connection', talk);
server.on('error', (error) => serverFailed(error, flags.listen));

whenAskedToEnd(() => {
  server.close();
  for (const socket of sockets) socket.destroy();
});

const { host, port } = flags.listen;
server.listen({ host, port });

// The listener stays open and goes on accepting. It only counts no more.
function unrefListener() {
  if (!isRefed) return;
  isRefed = false;
  server.unref();
  story("the listener is unref'ed");
}

function clientEnded() {
  if (flags['unref-at'] === 'first-end') unrefListener();
}

// One client. As long as its socket is open, the program stays.
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

  // The client has ended its side only. With `allowHalfOpen`, ours is open
  // until we end it, and the socket keeps the program alive until then.
  socket.on('end', () => {
    clientEnded();
    socket.end();
  });

  let failure;
  socket.on('error', (error) => {
    failure = error;
  });

  socket.on('close', () => {
    sockets.delete(socket);
    const why = failure ? ` with an error: ${reason(failure)}` : '';
    story(`${peer} left${why}`);
    if (failure) clientEnded();
  });
}
