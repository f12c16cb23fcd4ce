'use strict';
// Stop listening, go on serving, end with the last client.
//
//   terminal 1      node tests/node/close.js
//   terminals 2-4   telnet 127.0.0.1 8080
//
// The same program in Rust is labs/close: same flags, same story. The second
// client closes the listener: the third is refused, while the two go on. Leave
// with Ctrl-] and `quit`. Then take the call of `server.close()` away: when the
// last client leaves, the server does not end, and tells no 'close'.

const net = require('node:net');
const {
  reason, serverFailed, showAddress, story, warnUnlessLoopback, whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, numberUpTo, parseFlags } = require('./flags.js');

const flags = parseFlags(
  'Stop listening, go on serving, end with the last client.',
  '--after 1',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    after: flag(
      'N', numberUpTo(100_000),
      'Close the listener when so many clients are connected', '2',
    ),
  },
);

const server = net.createServer();
const sockets = new Set();
let listening;

server.on('listening', () => {
  const { address, port } = server.address();
  // Kept, because after `close()` the server does not know it any more.
  listening = showAddress(address, port);
  story(`listening on ${listening}`);
  warnUnlessLoopback({ address, port });
});
server.on('connection', (socket) => {
  const peer = showAddress(socket.remoteAddress, socket.remotePort);
  talk(socket, peer);
  server.getConnections((_error, count) => {
    story(`${peer} connected, ${count} of ${flags.after}`);
    if (count < flags.after) return;
    // The listening socket is gone at once: from now on the kernel refuses
    // new clients. Those who are connected do not notice.
    server.close();
    story(`no longer listening on ${listening}`);
  });
});
server.on('close', tellClosed);
server.on('error', (error) => serverFailed(error, flags.listen));

whenAskedToEnd(() => {
  server.close();
  for (const socket of sockets) socket.destroy();
});

const { host, port } = flags.listen;
server.listen({ host, port });

// One client. It knows nothing of the listener, and does not need it.
function talk(socket, peer) {
  sockets.add(socket);
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
    tellClosed();
  });
}

// The server's 'close' comes when its count has reached zero, which is just
// before the last socket's own 'close'. The story ends after both.
function tellClosed() {
  if (!server.listening && sockets.size === 0) story('closed');
}
