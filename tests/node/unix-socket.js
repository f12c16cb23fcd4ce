'use strict';
// Listen on a path in place of a port: talk within one machine.
//
//   terminal 1   node tests/node/unix-socket.js
//   terminal 2   node tests/node/unix-socket.js client     (or: nc -U lab.sock)
//
// The same program in Rust is labs/unix-socket: same flags, same story. What a
// server of its own has to do by hand stands here by hand: its file's mode,
// what was left of a server before it, and a path that is too long. Then end it
// with `kill -9`, take `takeOver` away, and start it once more.

const fs = require('node:fs');
const net = require('node:net');
const { constants } = require('node:os');
const { StringDecoder } = require('node:string_decoder');
const {
  fail, printable, quote, reason, story, whenAskedToEnd,
} = require('./common.js');
const { flag, misuse, oneOf, parseFlags } = require('./flags.js');

// The room of `sun_path`, less the zero at its end.
const MOST_BYTES = 107;
const ENAMETOOLONG = {
  code: 'ENAMETOOLONG',
  errno: -constants.errno.ENAMETOOLONG,
};

const flags = parseFlags(
  'Listen on a path in place of a port: talk within one machine.',
  'server --mode 0666',
  {
    path: flag('PATH', notEmpty, "The socket's file", 'lab.sock'),
    mode: flag('MODE', mode, "Permissions of the server's file, else 0600"),
  },
  'server|client',
);
const role = readRole();
if (role === 'client') client();
else server();

function readRole() {
  const [text = 'server', more] = flags.operands;
  try {
    oneOf('server', 'client')(text);
  } catch ({ message }) {
    misuse(`invalid role '${text}': ${message}`);
  }
  if (more) misuse(`unexpected argument '${more}'`);
  if (text === 'client' && flags.mode !== undefined) {
    misuse("unexpected argument '--mode': it is the server's");
  }
  return text;
}

function notEmpty(text) {
  if (text !== '') return text;
  throw new Error('a path is wanted');
}

function mode(text) {
  if (/^[0-7]+$/.test(text) && parseInt(text, 8) <= 0o777) {
    return parseInt(text, 8);
  }
  throw new Error('write it as chmod does, from 0000 to 0777');
}

function server() {
  const { path } = flags;
  const permissions = flags.mode ?? 0o600;
  const server = net.createServer();
  const sockets = new Set();
  let nClients = 0;
  let mayTakeOver = true;

  server.on('listening', () => {
    story(`listening on ${path}`);
    if (permissions & 0o022) {
      console.error('warning: other users of this machine can connect to ' +
        path);
    }
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    talk(socket, ++nClients);
  });
  server.on('error', (error) => {
    if (error.syscall === 'accept') {
      console.error(`warning: cannot accept: ${reason(error)}`);
    } else if (error.code === 'EADDRINUSE' && mayTakeOver) {
      mayTakeOver = false;
      takeOver(path, listen, () => fail(`cannot listen on ${path}`, error));
    } else {
      fail(`cannot listen on ${path}`, error);
    }
  });
  whenAskedToEnd(() => {
    // Node removes what stands at the path, its own file or not.
    server.close();
    for (const socket of sockets) socket.destroy();
  });

  // Node would cut the path and listen somewhere else.
  if (Buffer.byteLength(path) > MOST_BYTES) {
    fail(`cannot listen on ${path}`, ENAMETOOLONG);
  } else {
    listen();
  }

  // `listen` binds and listens in one go, so `chmod` would come too late. The
  // umask is the whole process's; nothing else runs before it is set back.
  function listen() {
    const before = process.umask(0o777 & ~permissions);
    server.listen(path);
    process.umask(before);
  }
}

// Calls `done` with the path free if the server before us was killed and its
// file stayed, and `refuse` otherwise.
function takeOver(path, done, refuse) {
  // Connecting to a plain file is refused, too. That is not ours to remove.
  if (!fs.lstatSync(path).isSocket()) return refuse();
  const probe = net.connect(path);
  probe.on('connect', () => {
    probe.destroy();
    refuse();
  });
  probe.on('error', (error) => {
    if (error.code !== 'ECONNREFUSED') return refuse();
    fs.unlinkSync(path);
    done();
  });
}

// One client, from its greeting to its end. Who it is Node cannot tell.
function talk(socket, number) {
  const peer = `client ${number}`;
  story(`${peer} connected`);
  socket.write(`hello, you are ${peer}\r\n`);

  const decoder = new StringDecoder('utf8');
  let bytesRead = 0;
  const tell = (text) => {
    if (text === '') return;
    story(`${peer} sent ${quote(text)}, ${bytesRead} bytes so far`);
  };
  socket.on('data', (chunk) => {
    bytesRead += chunk.length;
    tell(decoder.write(chunk));
    if (!socket.write(chunk)) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  });
  socket.on('end', () => {
    tell(decoder.end());
    story(`${peer} ended`);
  });
  let failure;
  socket.on('error', (error) => {
    failure = error;
  });
  socket.on('close', () => {
    const why = failure ? ` with an error: ${reason(failure)}` : '';
    story(`${peer} closed${why}`);
  });
}

function client() {
  const { path } = flags;
  const { stdin, stdout } = process;
  let connected = false;
  const socket = net.connect(path);
  // As long as somebody listens to stdin, Node does not end.
  const stopTyping = () => {
    stdin.unpipe(socket);
    stdin.destroy();
  };
  socket.on('connect', () => {
    connected = true;
    // The end of stdin ends our direction. We still read.
    stdin.pipe(socket);
  });
  if (stdout.isTTY) {
    // A server must not move our cursor or type for us.
    socket.setEncoding('utf8');
    socket.on('data', (text) => stdout.write(printable(text)));
  } else {
    socket.pipe(stdout);
  }
  socket.on('end', stopTyping);
  socket.on('error', (error) => {
    const what = connected ? `connection to ${path} failed` :
      `cannot connect to ${path}`;
    fail(what, error);
  });
  socket.on('close', stopTyping);
  whenAskedToEnd(() => socket.destroy());
}
