'use strict';
// Count the clients, and let only so many in.
//
//   terminal 1      node tests/node/getconnections.js
//   terminals 2-4   telnet 127.0.0.1 8080
//
// The same program in Rust is labs/getconnections: same flags, same story.
// Press Enter in terminal 2 to ask how many are there. The third client is let
// in and put out again. Then set `maxConnections` inside the 'connection'
// handler instead, take 1 for it, and see how many get in.

const net = require('node:net');
const {
  reason, serverFailed, showAddress, story, warnUnlessLoopback, whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, numberUpTo, parseFlags } = require('./flags.js');

const flags = parseFlags(
  'Count the clients, and let only so many in.',
  '--max 3',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    max: flag('N', numberUpTo(100_000), 'Most clients at a time', '2'),
  },
);

const server = net.createServer();
const sockets = new Set();

// Once, and before the first client. Node looks at it after each accept: a
// client too many is closed at once, not refused. 0 would mean no limit.
server.maxConnections = flags.max;

server.on('listening', () => {
  const { address, port } = server.address();
  story(`listening on ${showAddress(address, port)}`);
  warnUnlessLoopback({ address, port });
});
server.on('connection', talk);
// Without this handler, nobody learns that the server is full.
server.on('drop', ({ remoteAddress, remotePort }) => {
  const peer = showAddress(remoteAddress, remotePort);
  count((places) => story(`${peer} dropped, ${places} places taken`));
});
server.on('error', (error) => serverFailed(error, flags.listen));

whenAskedToEnd(() => {
  server.close();
  for (const socket of sockets) socket.destroy();
});

const { host, port } = flags.listen;
server.listen({ host, port });

// One client, from its coming to its going.
function talk(socket) {
  sockets.add(socket);
  const peer = showAddress(socket.remoteAddress, socket.remotePort);
  // Who is announced here is already counted.
  count((places) => {
    story(`${peer} connected, ${places} places taken`);
    socket.write(`welcome, ${places} places taken\r\n`);
  });

  socket.on('data', (chunk) => {
    const questions = chunk.filter((byte) => byte === 0x0a).length;
    count((places) => {
      // A client that asks and does not read the answers is read no further.
      if (!socket.write(`${places}\r\n`.repeat(questions))) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    });
  });

  let failure;
  socket.on('error', (error) => {
    failure = error;
  });

  // The server has already counted down. A client that has ended its own
  // direction still counts until it has all its answers.
  socket.on('close', () => {
    sockets.delete(socket);
    const how = failure ? 'left with an error' : 'left';
    const why = failure ? `: ${reason(failure)}` : '';
    count((places) => story(`${peer} ${how}, ${places} places taken${why}`));
  });
}

// Asks how many there are. The answer comes by callback, because a server may
// be spread over several processes (node:cluster), which have to be asked. It
// cannot fail here.
function count(answer) {
  server.getConnections((_error, taken) => answer(`${taken} of ${flags.max}`));
}
