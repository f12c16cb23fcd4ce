'use strict';
// Show what a terminal client negotiates, and read its lines all the same.
//
//   terminal 1   node tests/node/telnet.js
//   terminal 2   telnet 127.0.0.1 8080      (or: plink -telnet -P 8080 127.0.0.1)
//
// The same program in Rust is labs/telnet: same flags, same story. Type a line,
// then press Ctrl-C, and watch terminal 1. Then, in `negotiate`, do not answer,
// and press Ctrl-C again.

const net = require('node:net');
const {
  quote, reason, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const { flag, hostPort, parseFlags } = require('./flags.js');
const {
  COMMANDS, Decoder, IAC, MAX_LINE, Negotiation, OPTIONS, SB, SE, VERBS, nameOf,
} = require('./telnet-codec.js');

const flags = parseFlags(
  'Show what a terminal client negotiates, and read its lines all the same.',
  '--ask',
  {
    listen: flag(
      'HOST:PORT', hostPort,
      'Address to listen on; port 0 takes any free port', '127.0.0.1:8080',
    ),
    ask: {
      type: 'boolean',
      parse: Boolean,
      help: 'Ask every client at once; nc shows this as rubbish',
    },
  },
);

// What a client may do, and is asked to.
const ACCEPTED = [OPTIONS.BINARY, OPTIONS.NAWS, OPTIONS['TERMINAL-TYPE']];
// A subnegotiation about the terminal's type: IS its name, SEND it.
const IS = 0;
const SEND = 1;

// With `allowHalfOpen` false, Node ends our direction before we can answer the
// last line, which has no end but that of the stream.
const server = net.createServer({ allowHalfOpen: true });
const sockets = new Set();

server.on('listening', () => {
  const { address, port } = server.address();
  story(`listening on ${showAddress(address, port)}`);
  warnUnlessLoopback({ address, port });
});
server.on('connection', (socket) => new Client(socket));
server.on('error', (error) => serverFailed(error, flags.listen));

whenAskedToEnd(() => {
  server.close();
  for (const socket of sockets) socket.destroy();
});

const { host, port } = flags.listen;
server.listen({ host, port });

const optionName = (option) => nameOf(OPTIONS, option) ?? `option ${option}`;

// One client, from its coming to its going.
class Client {
  constructor(socket) {
    sockets.add(socket);
    this.socket = socket;
    this.peer = showAddress(socket.remoteAddress, socket.remotePort);
    this.negotiation = new Negotiation(ACCEPTED);
    this.decoder = new Decoder((event) => this.hear(event));
    this.isDone = false;
    this.tell('connected');
    // All answers to one chunk are one write.
    socket.cork();
    this.say('welcome');
    if (flags.ask) for (const option of ACCEPTED) this.ask(option);
    socket.uncork();
    socket.on('data', (chunk) => this.read(chunk));
    socket.on('end', () => this.end());

    let failure;
    socket.on('error', (error) => {
      failure = error;
    });
    socket.on('close', () => {
      sockets.delete(socket);
      this.tell(failure ? `closed with an error: ${reason(failure)}` : 'closed');
    });
  }

  tell(what) {
    story(`${this.peer} ${what}`);
  }

  // A line to read. CR LF is what ends one on every terminal.
  say(line) {
    this.socket.write(`${line}\r\n`);
  }

  read(chunk) {
    // It has ended. What it still sends is read and dropped.
    if (this.isDone) return;
    this.socket.cork();
    this.decoder.push(chunk);
    this.socket.uncork();
    if (this.isDone) {
      this.end();
    } else if (this.socket.writableNeedDrain) {
      this.socket.pause();
      this.socket.once('drain', () => this.socket.resume());
    }
  }

  end() {
    if (this.socket.writableEnded) return;
    this.isDone = true;
    this.decoder.finish();
    this.tell('ended');
    this.socket.end();
  }

  // Tells what it said, and finds the answer.
  hear({ line, tooLong, notUtf8, verb, option, data, tooMuchOf, command }) {
    if (line !== undefined) {
      this.tell(`sent ${quote(line)}`);
      this.say(`you sent ${quote(line)}`);
    } else if (tooLong) {
      const what = `a line of more than ${MAX_LINE} bytes`;
      this.tell(`sent ${what}`);
      this.say(`${what} was dropped; make it shorter`);
    } else if (notUtf8) {
      this.tell(`sent what is not UTF-8: ${quote(notUtf8.toString())}`);
      this.say('a line that is not UTF-8 was dropped; send it again');
    } else if (verb) {
      this.negotiate(verb, option);
    } else if (data) {
      this.learn(option, data);
    } else if (tooMuchOf !== undefined) {
      this.tell(`told too much of ${optionName(tooMuchOf)}`);
    } else {
      this.tell(`said ${nameOf(COMMANDS, command) ?? `command ${command}`}`);
      if (command === COMMANDS.AYT) this.say('yes, I am here');
      if (command === COMMANDS.EOF) this.isDone = true;
    }
  }

  negotiate(verb, option) {
    this.tell(`said ${verb} ${optionName(option)}`);
    const type = OPTIONS['TERMINAL-TYPE'];
    const hadType = this.negotiation.on.has(type);
    const answer = this.negotiation.answer(verb, option);
    if (answer) this.order(answer, option);
    if (option === type && verb === 'WILL' && !hadType) {
      this.socket.write(Buffer.from([IAC, SB, type, SEND, IAC, SE]));
    }
    // It speaks Telnet, so it may be asked; nc would show this as rubbish.
    this.ask(OPTIONS.NAWS);
    this.ask(type);
    // Only `telnet` itself speaks of these. It takes some bytes of Chinese
    // characters for control keys, unless it sends all eight bits as data.
    if ([OPTIONS['TIMING-MARK'], OPTIONS.LINEMODE].includes(option)) {
      this.ask(OPTIONS.BINARY);
    }
  }

  ask(option) {
    if (this.negotiation.ask(option)) this.order('DO', option);
  }

  order(verb, option) {
    this.tell(`is told ${verb} ${optionName(option)}`);
    this.socket.write(Buffer.from([IAC, VERBS[verb], option]));
  }

  // What it tells of itself. What is not as it should be is passed over.
  learn(option, data) {
    if (option === OPTIONS.NAWS && data.length === 4) {
      const size = Buffer.from(data);
      const [columns, rows] = [size.readUInt16BE(0), size.readUInt16BE(2)];
      this.tell(`has a window of ${columns} columns and ${rows} rows`);
    } else if (option === OPTIONS['TERMINAL-TYPE'] && data[0] === IS) {
      const name = Buffer.from(data.slice(1)).toString();
      this.tell(`has a terminal of type ${quote(name)}`);
    } else {
      this.tell(`told ${data.length} bytes of ${optionName(option)}`);
    }
  }
}
