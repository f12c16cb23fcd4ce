'use strict';
// Accept connections, greet each client, echo what it sends.
//
//   terminal 1   node tests/node/tcp-server.js
//   terminal 2   telnet 127.0.0.1 8080      (or: nc 127.0.0.1 8080)
//
// The same program in Rust is labs/tcp-server: same flags, same story. Type a
// line in terminal 2 and watch both. Then take the 'error' handler away, and
// see what a client that breaks its connection off does to the server:
//
//   node -e "net.connect(8080, function () { this.resetAndDestroy() })"

const net = require('node:net');
const { StringDecoder } = require('node:string_decoder');
const {
  quote, reason, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, numberUpTo, parseFlags } = require('./flags.js');

const flags = parseFlags(
  'Accept connections, greet each client, echo what it sends.',
  '--listen [::]:8080',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    backlog: flag(
      'N', numberUpTo(2 ** 31 - 1),
      'How many finished connections may wait to be accepted', '511',
    ),
  },
);

const server = net.createServer();
// Node counts its connections, but does not say which they are.
const sockets = new Set();

server.on('listening', () => {
  // Only now: before, there is no address, and `address()` gives null.
  const { address, port } = server.address();
  story(`listening on ${showAddress(address, port)}`);
  warnUnlessLoopback({ address, port });
});
server.on('connection', talk);
server.on('error', (error) => serverFailed(error, flags.listen));

whenAskedToEnd(() => {
  server.close();
  // Our FIN, and no more reading. With `end()` we would write first what they
  // are still owed, and then wait for their FINs.
  for (const socket of sockets) socket.destroy();
});

const { host, port } = flags.listen;
server.listen({ host, port, backlog: flags.backlog });

// One client, from its greeting to its end.
function talk(socket) {
  sockets.add(socket);
  const peer = showAddress(socket.remoteAddress, socket.remotePort);
  const local = showAddress(socket.localAddress, socket.localPort);
  story(`${peer} connected to ${local}`);
  socket.write(`hello, you are ${peer}\r\n`);

  // `socket.setEncoding('utf8')` would give us text in place of bytes, and what
  // is no UTF-8 could not be echoed any more. This is the decoder it uses.
  const decoder = new StringDecoder('utf8');
  // `socket.bytesRead` counts also what Node has read ahead of us.
  let bytesRead = 0;
  const tell = (text) => {
    // A read that brought only the beginning of a character tells nothing yet.
    if (text === '') return;
    story(`${peer} sent ${quote(text)}, ${bytesRead} bytes so far`);
  };

  // One chunk can hold half a line or three lines: TCP keeps the order of the
  // bytes, not where the client's writes began and ended.
  socket.on('data', (chunk) => {
    bytesRead += chunk.length;
    tell(decoder.write(chunk));
    // `write` never waits: what the client does not take is kept in memory. So
    // we read no more from it until it has taken all.
    if (!socket.write(chunk)) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  });

  // The client's FIN. Because `allowHalfOpen` is false, Node writes what the
  // client is owed, and then sends ours.
  socket.on('end', () => {
    tell(decoder.end());
    story(`${peer} ended`);
  });

  // Without this handler, one client that breaks off ends the whole server.
  let failure;
  socket.on('error', (error) => {
    failure = error;
  });

  // Always the last event, after 'end', after 'error', and after neither.
  socket.on('close', () => {
    sockets.delete(socket);
    const why = failure ? ` with an error: ${reason(failure)}` : '';
    story(`${peer} closed${why}`);
  });
}
